"""A person steers from the command line, and sees what became of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.live.stage import Stage
from tests.server.clients import forestay


def test_a_person_promotes_and_demotes_from_the_terminal(stage: Stage, tmp_path: Path) -> None:
    stage.set()
    url = ("--url", stage.daemon.listening())

    looked = forestay("preflight", *url, cwd=tmp_path)
    assert looked.returncode == 1
    assert [line.split()[1] for line in looked.stdout.splitlines() if line.startswith("NO")] == ["record"]
    refused = forestay("promote", "--confirm", "go live", *url, cwd=tmp_path)
    assert refused.returncode == 2
    assert "NO  record" in refused.stdout
    assert stage.agent()["status"] == "PAPER"

    other_words = forestay("promote", "--force", "--confirm", "yes", *url, cwd=tmp_path)
    assert (other_words.returncode, stage.agent()["status"]) == (2, "PAPER")
    done = forestay("promote", "--force", "--confirm", "go live", *url, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "The agent is LIVE."), done.stderr
    assert "LIVE: Live on BSC" in forestay("status", *url, cwd=tmp_path).stdout
    again = forestay("promote", "--force", "--confirm", "go live", *url, cwd=tmp_path)
    assert again.returncode == 2

    write_off = ("demote", "--reason", "it is gone", "--write-off", *url)
    untold = forestay(*write_off, typed="yes\n", cwd=tmp_path)
    assert untold.returncode == 2
    assert re.search(r"^ok +holdings", untold.stdout, re.MULTILINE)
    assert untold.stderr == 'forestay: not done: that needs the words "write off"\n'
    early = forestay(*write_off, "--json", typed="write off\n", cwd=tmp_path)
    assert (early.returncode, early.stdout, stage.agent()["status"]) == (2, "", "LIVE")
    assert "forestay: STILL_LIVE: " in early.stderr

    demoted = forestay("demote", "--reason", "enough", "--json", *url, cwd=tmp_path)
    assert (demoted.returncode, json.loads(demoted.stdout)["status"]) == (0, "PAPER"), demoted.stderr
    assert stage.agent()["status"] == "PAPER"
    whole = forestay(*write_off, typed="write off\n", cwd=tmp_path)
    assert (whole.returncode, whole.stderr.split(":")[1].strip()) == (2, "NOTHING_LOST")
    none = forestay("reapprove", "jrn_none", "--reason", "x", *url, cwd=tmp_path)
    assert (none.returncode, none.stderr.split(":")[1].strip()) == (2, "NOT_LOCKED")
