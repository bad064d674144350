import numpy as np
import pytest

from edgenext_mm.errors import InputError
from edgenext_mm.export.verify import check_differences, differences

SCORES = np.array([0.9, 0.1])


@pytest.mark.parametrize(
    ('error', 'refused'), [(5e-4, ()), (5e-3, ('float32',)), (0.5, ('float32', 'float16'))]
)
@pytest.mark.parametrize('precision', ('float32', 'float16', 'int8'))
def test_how_far_a_file_may_be_off(error, refused, precision):
    off = [differences({'scores': SCORES}, {'scores': SCORES + error})] * 2
    if precision in refused:
        with pytest.raises(InputError, match=rf'scores by {error:.2g} of 1 \(limit'):
            check_differences(off, precision)
    else:
        said = f'scores: off by {error:.2g} of 1 at most, on 2 images'
        assert check_differences(off, precision) == said


@pytest.mark.parametrize('precision', ('float32', 'float16', 'int8'))
@pytest.mark.parametrize('found', (np.array([0.9, np.nan]), np.array([0.9])))
def test_never_kept(found, precision):
    with pytest.raises(InputError, match='output scores of the file has'):
        check_differences([differences({'scores': SCORES}, {'scores': found})], precision)
