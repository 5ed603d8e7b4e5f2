"""One process holds a run as a whole, or several hold a share each."""

from __future__ import annotations

from pathlib import Path

import pytest

from isnet_cli.core.parallel import locks
from isnet_cli.core.parallel.locks import hold_run, list_shares_at_work, register_share
from isnet_cli.core.parallel.shares import Share
from isnet_cli.errors import IsnetError


def test_shares_hold_a_run_together_and_keep_the_whole_away(tmp_path: Path) -> None:
    with hold_run(tmp_path, Share(0, 2)), hold_run(tmp_path, Share(1, 2)):
        with register_share(tmp_path):
            pass
        assert list_shares_at_work(tmp_path, Share(0, 2)) == ["2of2"]
        with pytest.raises(IsnetError, match="shard 1of2 is at work"), hold_run(tmp_path):
            pass
        with pytest.raises(IsnetError, match="shard 2of2: in use"), hold_run(tmp_path, Share(1, 2)):
            pass
    with hold_run(tmp_path):
        assert list_shares_at_work(tmp_path) == []


def test_a_share_does_not_begin_beside_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "MOMENT", 0.1)
    with (
        hold_run(tmp_path),
        hold_run(tmp_path, Share(0, 2)),
        pytest.raises(IsnetError, match="that does no share of it"),
        register_share(tmp_path),
    ):
        pass
