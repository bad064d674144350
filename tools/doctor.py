"""Say what is installed, what is wrong, and which command cures it."""

import argparse

from edgenext_mm.analysis.doctor import examine
from edgenext_mm.errors import InputError, exit_on_input_error


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    problems = 0
    for finding in examine():
        print(finding, flush=True)
        problems += finding.wrong
    if problems:
        raise InputError(f'{problems} of these have to be put right, by the commands beside them')
    print('All that is needed is there.')


if __name__ == '__main__':
    with exit_on_input_error():
        main()
