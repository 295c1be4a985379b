"""``--strict-tracking``."""

from __future__ import annotations

import pytest

from vpcore.errors import PluginError
from vpcore.plugins.manager import HookFailure, Plugins
from vpcore_cli.common import require_tracked


def test_the_first_failure_is_named_and_counted() -> None:
    plugins = Plugins(entry_points=[])
    require_tracked(plugins)
    plugins.hook_failures += [HookFailure("raising", "vp_run_finished", "OSError: no disk")] * 2
    expected = "2 calls of lifecycle hooks failed, the first in plugin 'raising', vp_run_finished: OSError: no disk"
    with pytest.raises(PluginError, match=expected):
        require_tracked(plugins)
    with pytest.raises(PluginError, match="The tracker failed 1 times, the first time with no server. The results are"):
        require_tracked(plugins, ["no server"])
