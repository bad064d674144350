"""Where weights come from and how their names map to ours."""

from .files import read_checkpoint
from .pretrained import load_pretrained
from .zoo import RELEASES

__all__ = ['RELEASES', 'load_pretrained', 'read_checkpoint']
