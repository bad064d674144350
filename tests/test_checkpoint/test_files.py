"""Reading and downloading, from a server on this machine."""

import argparse
import hashlib
import io
import multiprocessing
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize('suffix', ['pth', 'SAFETENSORS', 'safetensors'])
def test_formats_are_told_by_the_content(tmp_path, suffix):
    path = tmp_path / f'checkpoint.{suffix}'
    for content in (save(WEIGHTS), (torch.save(WEIGHTS, path), path.read_bytes())[1]):
        path.write_bytes(content)
        assert_is_weights(read_checkpoint(str(path)))


def test_short_names():
    published = {arch for arch in ARCHS if arch != 'small_rw'}  # which is timm's
    assert len(RELEASES) == 10 and {release.arch for release in RELEASES.values()} == published
    for name, release in RELEASES.items():
        pattern = rf'https://github\.com/mmaaz60/EdgeNeXt/.*/v1\.\d+/edgenext_{name}\.pth'
        assert re.fullmatch(pattern, release.url, re.I)
        assert name.startswith(release.arch)
    with pytest.raises(InputError, match=r'unknown checkpoint edgenext://tiny: .*xx_small'):
        read_checkpoint('edgenext://tiny')


def zipped(names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name in names:
            archive.writestr(name, b'x')
    return file.getvalue()


def damaged():
    """A checkpoint with another bit in a tensor."""
    file = io.BytesIO()
    torch.save({'weight': torch.full((9,), 1.5)}, file)
    return file.getvalue().replace(torch.tensor(1.5).numpy().tobytes(), b'\0\0\xc0\x3e', 1)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', ' (it is empty)'),
        (b'no checkpoint', ''),
        (b'a', ''),
        (b'\n<HTML></HTML>', ' (it is a web page)'),
        (b'version https://git-lfs.github.com/spec/v1\n', ' (it is a pointer of Git LFS'),
        (b'\x1f\x8b\x08', ' (it is packed by gzip: unpack it)'),
        (zipped(['weights/readme.txt']), ' (it is an archive: unpack it)'),
        (zipped(['a/data.pkl', 'a/constants.pkl']), ' (it is a program of TorchScript)'),
        (damaged(), ' (the checksum of its part '),
    ],
)
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_broken_files(tmp_path, content, suffix, reason):
    path = tmp_path / f'checkpoint.{suffix}'
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f'{path} is not a whole checkpoint{reason}')):
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


def test_files_change_nothing_outside(tmp_path):
    """A pickle can set attributes of a function that it names, which here is one of its own."""
    path = tmp_path / 'checkpoint.pth'
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('archive/version', '3')
        file.writestr(
            'archive/data.pkl',
            b'\x80\x02}U\x01acmmengine.logging.history_buffer\nHistoryBuffer\ns'
            b'U\x01bctorch._utils\n_rebuild_tensor_v2\nN}U\x04evilK\x01s\x86bs.',
        )
    assert read_checkpoint(str(path))['b'].evil == 1
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'evil')


def test_old_formats_hold_weights_alone(tmp_path):
    path = str(tmp_path / 'checkpoint.pth')
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    assert_is_weights(read_checkpoint(path))
    training_run(path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match='is refused: it holds argparse'):
        read_checkpoint(path)


def training_run(path, **kwargs):
    """Save what the reference's and mmengine's training runs save beside the weights."""
    content = {
        'model': WEIGHTS,
        'args': argparse.Namespace(lr=0.1, name='run'),
        'logs': [HistoryBuffer([1.0, 2.0], [1, 1]), np.float32(1), np.arange(3), np.array(['a'])],
        'dtype': np.dtype('U1'),
        'method': Call(getattr, argparse.Namespace, '__init__'),
        'classes': {'cat', 'dog'},
    }
    torch.save(content, path, **kwargs)


def test_what_training_runs_save(tmp_path):
    """Command line, logs, methods and arrays become objects without content."""
    path = str(tmp_path / 'checkpoint.pth')
    training_run(path)
    content = read_checkpoint(path)
    assert_is_weights(content['model'])
    assert content['classes'] == {'cat', 'dog'}
    for item in (content['args'], *content['logs'], content['dtype'], content['method']):
        assert type(item).__name__ == '_Inert' and not vars(item)


def test_threads_read_side_by_side(tmp_path):
    """What PyTorch may read is one list for all threads: another one's files keep their rules."""
    path = str(tmp_path / 'checkpoint.pth')
    training_run(path)
    allowed = getattr(torch.serialization, 'get_safe_globals', list)
    before = set(allowed())
    done = threading.Event()

    def load_elsewhere():
        outcomes = set()
        while not done.is_set():
            try:
                torch.load(path, weights_only=True)
                outcomes.add('loaded')
            except pickle.UnpicklingError:
                outcomes.add('refused')
            outcomes.add(frozenset(allowed()) == before)
        return outcomes

    with ThreadPoolExecutor(5) as pool:
        elsewhere = pool.submit(load_elsewhere)
        try:
            for content in pool.map(read_checkpoint, [path] * 100):
                assert_is_weights(content['model'])
        finally:
            done.set()
    assert elsewhere.result() == {'refused', True} and set(allowed()) == before


@pytest.mark.parametrize(
    'error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_is_no_broken_file(tmp_path, server, cache, monkeypatch, error):
    def load(*args, **kwargs):
        raise error

    (tmp_path / 'checkpoint.pth').write_bytes(b'weights')
    monkeypatch.setattr(torch, 'load', load)
    for checkpoint in (str(tmp_path / 'checkpoint.pth'), f'{server.url}/whole.pth'):
        with pytest.raises(type(error)) as raised:
            read_checkpoint(checkpoint)
        assert raised.value is error
    assert not contents(cache)


@pytest.mark.slow
def test_too_large_to_allocate(tmp_path):
    """A real allocation that fails, in a process whose memory is limited."""
    torch.save({'weight': torch.zeros(2**28, dtype=torch.uint8)}, tmp_path / 'large.pth')
    program = """
import pickle, resource, sys
from edgenext_mm.checkpoint import read_checkpoint
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, -1))
try:
    read_checkpoint(sys.argv[1])
except (MemoryError, RuntimeError, pickle.UnpicklingError) as error:  # the last by PyTorch 2.1
    print(repr(error))
"""
    command = [sys.executable, '-c', program, str(tmp_path / 'large.pth')]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search("^MemoryError|can't allocate memory", result.stdout)
