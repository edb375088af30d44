from tests.live.stage import *
def test_try(stage):
    stage.set()
    p=2000
    for price in (2010,1990,2010,1990,2010,1990,1900,1850,2000,2050):
        stage.step(price); print(price, stage.agent()["status"], stage.agent()["equity"])
    for e in stage.events("journal_entry"): print(e["ts"], e["type"], e["text"][:200])
    r=stage.daemon.get("/agents/current/preflight"); print(r.status_code, r.text)
    r=stage.post("promote", {"confirm":"go live","force":True}); print(r.status_code, r.text)
    for price in (2060,2040,1950):
        stage.step(price); print(price, stage.agent()["status"], stage.agent()["equity"], stage.agent()["live"])
    stage._wait(lambda: [t for t in stage.events("trade") if t["phase"]=="live"], 10, mining=True)
    print(stage.events("trade")[-1])
    for e in stage.events("journal_entry")[-12:]: print(e["ts"], e["type"], e["text"][:300])
    print(stage.daemon.errors)
    assert 0
