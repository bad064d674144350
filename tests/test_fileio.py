from concurrent.futures import ThreadPoolExecutor

import pytest
from mmengine.fileio import LocalBackend, get_file_backend


@pytest.fixture
def backend():
    return get_file_backend(backend_args=dict(backend='atomic_local'))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_atomic_write(backend, tmp_path, monkeypatch):
    folder = tmp_path / 'folder'
    backend.put(b'first', folder / 'checkpoint.pth')
    backend.put_text('text', str(folder / 'log.txt'))
    assert contents(folder) == {'checkpoint.pth': b'first', 'log.txt': b'text'}

    def broken(self, obj, filepath):
        with open(filepath, 'wb') as file:
            file.write(obj[: len(obj) // 2])
        raise OSError('disk full')

    monkeypatch.setattr(LocalBackend, 'put', broken)
    with pytest.raises(OSError, match='disk full'):
        backend.put(b'second', folder / 'checkpoint.pth')
    with pytest.raises(OSError, match='disk full'):
        backend.put_text('second', folder / 'log.txt')
    assert contents(folder) == {'checkpoint.pth': b'first', 'log.txt': b'text'}


def test_writers_of_one_file(backend, tmp_path):
    """Whoever is last, the file is one of theirs as a whole."""
    texts = [bytes([65 + i]) * 1_000_000 for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            [*pool.map(lambda text: backend.put(text, tmp_path / 'checkpoint.pth'), texts)]
            (content,) = contents(tmp_path).values()
            assert content in texts
