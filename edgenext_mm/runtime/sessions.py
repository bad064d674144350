"""Exported files, each in its runtime."""

import json
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

# Which files each runs, the package, and what installs it.
_RUNTIMES = {
    'onnxruntime': (('.onnx',), 'onnxruntime', 'edgenext_mm[runtime]'),
    'openvino': (('.xml', '.onnx'), 'openvino', 'openvino'),
    'opencv': (('.onnx',), 'cv2', 'opencv-python-headless'),
    'litert': (('.tflite',), 'ai_edge_litert.interpreter', 'ai-edge-litert'),
    'ncnn': (('_ncnn',), 'ncnn', 'ncnn'),
}
# OpenVINO would report each import to Google, by a fork of this process from another thread.
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
# One core for the whole process: where one ends in another thread than it began in, OpenVINO frees
# the stack on which the first thread handles signals, and the next signal ends the process.
openvino_core = cache(lambda: import_module('openvino').Core())


class Session:
    """A file in its runtime, with its ``metadata``; for the arguments see ``Predictor``."""

    def __init__(
        self,
        path: str | Path,
        runtime: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        self.path = path = Path(path)
        self.threads, self.precision = threads, precision
        kind = '_ncnn' if path.is_dir() else path.suffix.lower()
        fit = [name for name, (kinds, *_) in _RUNTIMES.items() if kind in kinds]
        if not path.exists():
            raise InputError(f'{path} does not exist: write it by tools/export.py')
        if not fit or runtime not in (None, *fit):
            known = ', '.join(f'{name}: {" ".join(_RUNTIMES[name][0])}' for name in _RUNTIMES)
            raise InputError(f'{path} is no file for {runtime or "a predictor"} ({known})')
        self.metadata = self._read_metadata(kind)
        self.runtime = runtime or fit[0]
        _, package, requirement = _RUNTIMES[self.runtime]
        try:  # what runs the file knows nothing of this object: both end when the last use does
            self._run = getattr(self, f'_{self.runtime}')(import_module(package))
        except ImportError as error:
            raise InputError(f"{path} needs {error.name}: pip install '{requirement}'") from error
        except Exception as error:  # of the runtime's own types
            raise self._fault('cannot be loaded', error) from error

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs, in the order of the metadata's ``output.names``."""
        try:
            return self._run(inputs, self.names)
        except Exception as error:  # as above
            shapes = ', '.join(f'{name} {values.shape}' for name, values in inputs.items())
            raise self._fault(f'cannot be run on {shapes}', error) from error

    def _fault(self, what: str, error: Exception) -> InputError:
        told = f'{type(error).__name__}: {" ".join(str(error).split())}'[:300]
        return InputError(f'{self.path} {what} by {self.runtime} ({told}): export it again')

    def _read_metadata(self, kind: str) -> dict[str, Any]:
        try:
            if kind == '.onnx':  # a pair of protobuf: key, length of the value, value
                *_, text = self.path.read_bytes().rpartition(b'\n\x0bedgenext_mm\x12')
                text = text[next(i for i, byte in enumerate(text) if byte < 128) + 1 :]
            elif kind == '.xml':
                from xml.etree import ElementTree

                info = next(ElementTree.parse(self.path).iter('edgenext_mm'))
                text = info.attrib['value'].encode()
            elif kind == '.tflite':
                from zipfile import ZipFile

                text = ZipFile(self.path).read('edgenext_mm.json')
            else:
                text = (self.path / 'edgenext_mm.json').read_bytes()
            metadata = json.JSONDecoder().raw_decode(text.decode(errors='replace'))[0]
            self.names = list(metadata['output']['names'])
        except Exception as error:
            fault = 'has no metadata of edgenext_mm: it is broken, or not from tools/export.py'
            raise InputError(f'{self.path} {fault}') from error
        return metadata

    def _onnxruntime(self, package: Any) -> Any:
        options = package.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, self.threads or 0
        session = package.InferenceSession(self.path, options, ['CPUExecutionProvider'])
        return lambda inputs, names: session.run(names, inputs)

    def _openvino(self, package: Any) -> Any:
        settings = dict(INFERENCE_NUM_THREADS=self.threads, INFERENCE_PRECISION_HINT=self.precision)
        chosen = {name: value for name, value in settings.items() if value}
        model = openvino_core().compile_model(str(self.path), 'CPU', chosen)
        return lambda inputs, names: [*map(model(inputs).__getitem__, names)]

    def _opencv(self, package: Any) -> Any:
        network = package.dnn.readNetFromONNX(str(self.path))
        package.setNumThreads(self.threads or -1)
        return lambda inputs, names: network.setInput(inputs['image']) or network.forward(names)

    def _litert(self, package: Any) -> Any:
        model = package.Interpreter(str(self.path), num_threads=self.threads).get_signature_runner()
        (place,) = model.get_input_details()
        return lambda inputs, _: [x for _, x in sorted(model(**{place: inputs['image']}).items())]

    def _ncnn(self, package: Any) -> Any:
        network, files = package.Net(), f'{self.path}/model.ncnn.'
        network.opt.num_threads = self.threads or network.opt.num_threads
        if network.load_param(f'{files}param') or network.load_model(f'{files}bin'):
            raise ValueError(f'{files}param or .bin is broken')

        def run(inputs: dict[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
            extractor = network.create_extractor()
            extractor.input('in0', package.Mat(inputs['image'][0]).clone())
            return [np.array(extractor.extract(f'out{i}')[1])[None] for i in range(len(names))]

        return run
