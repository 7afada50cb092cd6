"""Objects that change in a child process."""

import os
import sys

import pytest

from edr._util.forks import tracked_across_forks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")


class Tracked:
    is_in_child = False

    def enter_child(self):
        self.is_in_child = True


_tracked = tracked_across_forks(Tracked.enter_child)


def test_a_child_changes_its_objects_and_the_parent_does_not():
    kept, removed = Tracked(), Tracked()
    _tracked.update((kept, removed))
    _tracked.discard(removed)

    child = os.fork()
    if child == 0:
        os._exit(10 * kept.is_in_child + removed.is_in_child)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert not kept.is_in_child
