import pytest
from mmengine.fileio import LocalBackend, get_file_backend


def test_atomic_write(tmp_path, monkeypatch):
    backend = get_file_backend(backend_args=dict(backend='atomic_local'))
    path = tmp_path / 'folder' / 'checkpoint.pth'
    backend.put(b'first', path)
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b'first']

    def broken(self, obj, filepath):
        with open(filepath, 'wb') as file:
            file.write(obj[: len(obj) // 2])
        raise OSError('disk full')

    monkeypatch.setattr(LocalBackend, 'put', broken)
    with pytest.raises(OSError, match='disk full'):
        backend.put(b'second', path)
    assert path.read_bytes() == b'first'
