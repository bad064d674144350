"""Logs of runs."""

import json
from pathlib import Path

from ..errors import InputError


def read_scalars(work_dir):
    """Read what the runs of a work directory logged.

    Args:
        work_dir (str | Path): work directory of tools/train.py.

    Returns:
        tuple[dict[int, dict], dict[int, dict]]: by iteration what training logged, and by epoch
        what validation did (by iteration if the training loop counts these). Where a run was
        resumed or started again, the later one counts.

    Raises:
        InputError: if no run has logged there.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise InputError(f'{work_dir} has no */vis_data/scalars.json: has a run logged there?')
    train, val = {}, {}
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for scalars, key, new in (
            (train, 'iter', [row for row in rows if 'iter' in row]),
            (val, 'step', [row for row in rows if 'iter' not in row]),
        ):
            for stale in [step for step in scalars if new and step >= new[0][key]]:
                del scalars[stale]
            scalars.update({row[key]: row for row in new})
    return train, val
