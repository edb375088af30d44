"""The chain: what is asked of it (`port`), and how (`rpc`). Nothing in here loads web3 before it is first asked."""
