"""RiskEngine: policy. The limits, the evaluation, the lifecycle."""
