"""The contract of `ports.ShadowStore`, on the memory twin, SQLite and a real Postgres."""

from dataclasses import replace

from agent.model import Deed, HoldCode, RunbookId, Shadow, ShadowEnd
from agent.ports import Store
from tests.contracts.test_store import RECREATE, RESTART, SECOND, WEB, connect, opened, store
from tests.fakes import START

__all__ = ["connect", "store"]  # fixtures


def decision(store: Store) -> Shadow:
    made = Shadow(
        incident=opened(store), service=WEB.name, at=START, code=HoldCode.OBSERVING, plan=RESTART, before=None, config="ab"
    )
    store.shadows.decided(made)
    return made


def test_the_first_decision_of_an_incident_stands(store: Store) -> None:
    made = decision(store)
    store.shadows.decided(replace(made, at=START + SECOND, plan=RECREATE))
    assert store.shadows.of(made.incident) == made
    assert store.shadows.since(START) == (made,)
    assert store.shadows.since(START + SECOND) == ()


def test_the_first_account_of_its_end_stands(store: Store) -> None:
    made = decision(store)
    end = ShadowEnd(at=START + SECOND, deeds=(Deed.STARTED,), by="1 by its restart policy", ran=(RunbookId("x"),))
    store.shadows.ended(made.incident, end)
    store.shadows.ended(made.incident, replace(end, deeds=None))
    assert store.shadows.of(made.incident) == replace(made, ended=end)


def test_an_end_without_a_decision_is_none(store: Store) -> None:
    id_ = opened(store)
    store.shadows.ended(id_, ShadowEnd(at=START, deeds=()))
    assert (store.shadows.of(id_), store.shadows.since(START)) == (None, ())
