"""Reading and downloading, from a server on this machine."""

import argparse
import hashlib
import multiprocessing
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save

from edgenext_mm.checkpoint import RELEASES, read_checkpoint
from edgenext_mm.errors import InputError
from edgenext_mm.models import ARCHS

WEIGHTS = {'weight': torch.arange(5000.0)}
SAFE_GLOBALS = hasattr(torch.serialization, 'clear_safe_globals')  # from PyTorch 2.4 on


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.delenv('EDGENEXT_CHECKPOINT_DIR', raising=False)
    return tmp_path / 'torch/hub/checkpoints'


@pytest.fixture
def server(tmp_path):
    """A server whose files can be made to break off in the middle; it counts requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            httpd.requests += 1
            content = httpd.files.get(self.path.split('?')[0])
            self.send_response(404 if content is None else 200)
            content = content or b'<html>not found</html>'
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if httpd.breaks else content)

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    httpd.requests, httpd.breaks = 0, False
    torch.save(WEIGHTS, tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    httpd.hash = hashlib.sha256(whole).hexdigest()[:8]
    httpd.files = {
        '/whole.pth': whole,
        f'/good-{httpd.hash}.pth': whole,
        '/bad-0123abcd.pth': whole,
        '/weights.safetensors': save(WEIGHTS),
        '/page.pth': b'<html>Service unavailable</html>',
        '/text.pth': b'error: rate limit',
    }
    torch.save({'other': torch.ones(1)}, tmp_path / 'other.pth')
    httpd.files['/other/whole.pth'] = (tmp_path / 'other.pth').read_bytes()
    httpd.url = f'http://127.0.0.1:{httpd.server_port}'
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def assert_is_weights(content):
    assert torch.equal(content['weight'], WEIGHTS['weight'])


def contents(folder):
    return {path.name for path in folder.rglob('*') if path.is_file()}


def test_downloads_once(server, cache):
    for name in ('whole.pth', f'good-{server.hash}.pth', 'weights.safetensors?download=true'):
        for _ in range(2):
            assert_is_weights(read_checkpoint(f'{server.url}/{name}'))
    assert server.requests == 3
    assert contents(cache) == {'whole.pth', f'good-{server.hash}.pth', 'weights.safetensors'}


def test_files_of_one_name_are_told_apart(server, cache):
    assert_is_weights(read_checkpoint(f'{server.url}/whole.pth'))
    assert 'other' in read_checkpoint(f'{server.url}/other/whole.pth')
    assert_is_weights(read_checkpoint(f'{server.url}/whole.pth'))


@pytest.mark.parametrize(
    'name', ['whole.pth', 'page.pth', 'text.pth', 'bad-0123abcd.pth', 'no.pth']
)
def test_failed_downloads_leave_nothing(server, cache, name):
    server.breaks = name == 'whole.pth'
    url = f'{server.url}/{name}'
    with pytest.raises(InputError) as error:
        read_checkpoint(url)
    text = str(error.value)
    assert url in text and f'{cache}/' in text and 'EDGENEXT_CHECKPOINT_DIR' in text
    assert '\n' not in text and 'weights_only' not in text and not contents(cache)
    if server.breaks:  # and the next try starts afresh
        server.breaks = False
        assert_is_weights(read_checkpoint(url))


def test_processes_download_side_by_side(server, cache):
    url = f'{server.url}/whole.pth'
    with multiprocessing.get_context('fork').Pool(4) as pool:
        for content in pool.map(read_checkpoint, [url] * 4, chunksize=1):
            assert_is_weights(content)
    assert contents(cache) == {'whole.pth'}


def test_folder_comes_before_the_network(server, cache, tmp_path, monkeypatch):
    monkeypatch.setenv('EDGENEXT_CHECKPOINT_DIR', str(tmp_path))
    assert_is_weights(read_checkpoint('http://127.0.0.1:9/folder/whole.pth'))
    (tmp_path / 'edgenext_small_usi.pth').write_bytes(server.files['/whole.pth'])
    assert_is_weights(read_checkpoint('edgenext://small_usi'))
    assert_is_weights(read_checkpoint(f'{server.url}/good-{server.hash}.pth'))  # not in the folder
    assert server.requests == 1


def test_short_names():
    published = {arch for arch in ARCHS if arch != 'small_rw'}  # which is timm's
    assert len(RELEASES) == 10 and {release.arch for release in RELEASES.values()} == published
    for name, release in RELEASES.items():
        pattern = rf'https://github\.com/mmaaz60/EdgeNeXt/.*/v1\.\d+/edgenext_{name}\.pth'
        assert re.fullmatch(pattern, release.url, re.I)
        assert name.startswith(release.arch)
    with pytest.raises(InputError, match=r'unknown checkpoint edgenext://tiny: .*xx_small'):
        read_checkpoint('edgenext://tiny')


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'a', b'<html></html>'])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_broken_files(tmp_path, content, suffix):
    path = tmp_path / f'checkpoint.{suffix}'
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf'{path} is not a whole checkpoint'):
        read_checkpoint(str(path))
    with pytest.raises(InputError, match=r'nowhere\.pth'):
        read_checkpoint(str(tmp_path / 'nowhere.pth'))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('culprit', [Malicious(Path('touched')), eval, Call(exec, 'touch()')])
def test_malicious_files_are_refused(tmp_path, monkeypatch, culprit):
    monkeypatch.chdir(tmp_path)
    torch.save({'model': WEIGHTS, 'args': culprit}, 'checkpoint.pth')
    with pytest.raises(InputError, match=r'checkpoint\.pth is refused: it holds \S+, which'):
        read_checkpoint('checkpoint.pth')
    assert not Path('touched').exists()


def test_what_training_runs_save(tmp_path):
    """The reference's command line and mmengine's logs, whose methods and arrays stay dead."""
    path = str(tmp_path / 'checkpoint.pth')
    for content in (
        {'args': argparse.Namespace(lr=0.1, name='run')},
        {'logs': HistoryBuffer([1.0, 2.0], [1, 1])},
        {'logs': [np.float32(1), np.arange(3), np.array(['a']), np.dtype('U1')]},
        {'logs': Call(getattr, argparse.Namespace, '__init__')},
    ):
        torch.save({'model': WEIGHTS, **content}, path)
        if not SAFE_GLOBALS:
            with pytest.raises(InputError, match='is refused: it holds'):
                read_checkpoint(path)
            continue
        content = read_checkpoint(path)
        assert_is_weights(content['model'])
        logs = content.get('logs', [])
        for item in logs if isinstance(logs, list) else [logs]:
            assert type(item).__mro__[1].__name__ == '_Inert'


@pytest.mark.skipif(not SAFE_GLOBALS, reason='PyTorch before 2.4 has no list of safe globals')
def test_what_others_allow_counts_for_nothing(tmp_path):
    path = str(tmp_path / 'checkpoint.pth')
    torch.save({'logs': Call(getattr, argparse.Namespace, '__init__'), 'path': Path('a')}, path)
    mine = [getattr, type(Path('a'))]
    torch.serialization.add_safe_globals(mine)
    try:
        with pytest.raises(InputError, match='is refused: it holds pathlib'):
            read_checkpoint(path)
        assert set(mine) <= set(torch.serialization.get_safe_globals())
    finally:
        torch.serialization.clear_safe_globals()
