"""The file runbooks/TESTED is current: what is shipped is what passed `medic runbook test`."""

from agent.wiring import shipped


def test_every_shipped_runbook_passed_its_test_as_it_is() -> None:
    changed = [runbook.id for runbook in shipped.runbooks() if not (runbook.tested or runbook.unrehearsed)]
    assert changed == [], "run `medic runbook test ID --record`"
