"""Work shared by those who asked before it began."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from certforecast.execution.sharing import Sharing


def test_who_asks_while_it_runs_gets_the_next_run_and_shares_it() -> None:
    sharing, runs, going, begun = Sharing[int](), [], threading.Event(), threading.Event()

    def job() -> int:
        runs.append(len(runs))
        begun.set()
        assert going.wait(20)
        return len(runs)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(sharing.share, "server", job)
        assert begun.wait(20)
        others = [pool.submit(sharing.share, "server", job) for _ in range(3)]
        while sum(each.running() for each in others) < 3:
            pass
        assert sharing.share("another", lambda: 7) == 7
        going.set()
        assert first.result(20) == 1
        # Those who asked in time share the second run; one who was late may have had a third.
        assert {each.result(20) for each in others} <= {2, 3}
    assert len(runs) <= 3


def test_what_it_raises_all_get_and_the_next_run_is_a_new_one() -> None:
    sharing = Sharing[int]()

    def broken() -> int:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        sharing.share("server", broken, fresh_s=60)
    assert sharing.share("server", lambda: 1, fresh_s=60) == 1
    assert sharing.share("server", lambda: 2, fresh_s=60) == 1
    assert sharing.share("server", lambda: 3) == 3
