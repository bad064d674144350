"""Progress on a terminal and elsewhere, and processes that die."""

import io
import os
import signal
import subprocess
import sys

import pytest

from edgenext_mm.errors import InputError
from edgenext_mm.parallel import parallel_map, track


def square(number):
    return number * number


def refuse(number):
    if number == 7:
        raise InputError('7.png is broken: restore it')
    return number


def die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does for want of memory
    return number


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(('total', 'lines'), [(400, 11), (33, 11), (10, 11), (3, 4), (1, 2)])
def test_a_line_for_every_ten_per_cent(capsys, total, lines):
    assert list(track(range(total), total, 'masks')) == list(range(total))
    text = capsys.readouterr().err
    assert '\r' not in text and text.endswith('\n')
    states = text.splitlines()
    assert len(states) == lines
    assert states[0].startswith('masks:   0%') and states[-1].startswith('masks: 100%')
    assert f'{total} of {total}' in states[-1]


def test_how_many_in_a_second(capsys):
    assert len([*track(range(30), 30, 'predicting', unit='frames')]) == 30
    assert capsys.readouterr().err.splitlines()[-1].endswith('frames/s]')


def test_nobody_knows_how_many(capsys):
    assert len([*track(iter(range(250)), None, 'predicting', unit='frames')]) == 250
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[-1].startswith('predicting: 200 [')


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr('sys.stderr', terminal)
    assert list(track(range(4), 4, 'masks')) == [0, 1, 2, 3]
    assert 'masks: 100%|' in terminal.getvalue() and terminal.getvalue().count('\n') == 1


@pytest.mark.parametrize('processes', [1, 2])
def test_order_and_errors(processes):
    assert list(parallel_map(square, range(50), processes, 'numbers')) == [
        number * number for number in range(50)
    ]
    assert list(parallel_map(square, [], processes, 'numbers')) == []
    with pytest.raises(InputError, match=r'^7\.png is broken: restore it$'):
        list(parallel_map(refuse, range(50), processes, 'numbers'))


def test_a_killed_process_is_an_error():
    with pytest.raises(InputError, match='worked on the numbers was killed: the memory'):
        list(parallel_map(die, range(20), 2, 'numbers'))


MAP = """
import os, time
from edgenext_mm.parallel import parallel_map

def work(number):
    os.write(1, f'{os.getpid()}\\n'.encode())  # the line at once
    time.sleep(0.5 if number < 4 else 100)

list(parallel_map(work, range(40), 2, 'numbers'))
"""


def test_processes_end_with_the_one_that_started_them():
    """Those that work, and those that wait for work."""
    with subprocess.Popen([sys.executable, '-c', MAP], stdout=subprocess.PIPE) as parent:
        workers = {int(parent.stdout.readline()) for _ in range(4)}
        parent.kill()
        assert len(workers) == 2 and parent.stdout.read() == b''  # which they hold open
