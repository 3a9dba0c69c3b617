"""A project's own test of its scheduler log (pytest, or any runner of test functions).

SCHEDLOG names the program if it is not on the PATH; GOLDEN and LOG_DIR the two logs.
"""

import os
import pathlib
import subprocess

SCHEDLOG = os.environ.get("SCHEDLOG", "schedlog")
GOLDEN = os.environ.get("GOLDEN", "tests/golden/scheduler_log")
LOG_DIR = os.environ.get("LOG_DIR", "scheduler_logs")


def schedlog(*arguments):
    done = subprocess.run([SCHEDLOG, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"


def test_the_log_holds():
    schedlog("check", LOG_DIR)


def test_no_decision_changed():
    # On purpose? Then: schedlog diff --bless GOLDEN LOG_DIR, and commit the golden log.
    schedlog("diff", pathlib.Path(GOLDEN), LOG_DIR, "--ignore-times")
