"""Small files of the form that tools/export.py writes, made by hand."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

COLOR = dict(batch=1, size=None, channels=3, color_type='color')
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def resized(width, height, **settings):
    """A step of the preparation to one size."""
    ways = dict(interpolation='bicubic', backend='cv2') | settings
    return dict(type='Resize', scale=[width, height], keep_ratio=False, **ways)


def metadata(task_of_file, form, names, **settings):
    return (
        dict(
            format=1,
            task=task_of_file,
            input=COLOR,
            mean=MEAN,
            std=STD,
            prepare=[resized(32, 32)],
            output=dict(form=form, names=names),
            precision='float32',
        )
        | settings
    )


def write(path, meta, nodes, outputs, inputs=(), constants=()):
    """Write an ONNX file; inputs are beside ``image``, all sizes are free."""
    image = helper.make_tensor_value_info('image', TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph(
        nodes,
        'graph',
        [image, *(helper.make_tensor_value_info(*one) for one in inputs)],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    if meta is not None:
        text = meta if isinstance(meta, str) else json.dumps(meta)
        helper.set_model_props(model, dict(author='x', edgenext_mm=text))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def constant_boxes(path, boxes, scores, **settings):
    """A detector that finds the same boxes, (A, 4), and scores, (A, classes), in all images."""
    names = [f'class {i}' for i in range(np.shape(scores)[1])]
    post = dict(score_thr=0.01, nms_pre=1000, iou_threshold=0.5, max_per_img=200, min_bbox_size=0)
    post = dict(postprocess=post | dict(anchors=[len(boxes)]), classes=names)
    meta = metadata('detection', 'boxes', ['boxes', 'scores'], **post | settings)
    # Something of the image, for no runtime to drop it.
    nodes = [
        helper.make_node('ReduceMean', ['image'], ['mean'], keepdims=0),
        helper.make_node('Mul', ['mean', 'zero'], ['nothing']),
        helper.make_node('Add', ['all_boxes', 'nothing'], ['boxes']),
        helper.make_node('Add', ['all_scores', 'nothing'], ['scores']),
    ]
    constants = [
        ('zero', np.float32(0)),
        ('all_boxes', np.array(boxes, np.float32)[None]),
        ('all_scores', np.array(scores, np.float32)[None]),
    ]
    outputs = [(name, TensorProto.FLOAT, [None] * 3) for name in ('boxes', 'scores')]
    return write(path, meta, nodes, outputs, constants=constants)


def brightest_channel(path, **settings):
    """A segmentor whose logits are the channels: red, green and blue, one class each."""
    palette = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    words = dict(classes=['red', 'green', 'blue'], palette=palette)
    meta = metadata('segmentation', 'logits', ['logits'], **words | settings)
    if meta['output']['form'] == 'logits':
        nodes = [helper.make_node('Identity', ['image'], ['logits'])]
        return write(path, meta, nodes, [('logits', TensorProto.FLOAT, [None] * 4)])
    meta['output']['names'] = ['mask']
    free = meta['input']['size'] is None
    nodes = [
        helper.make_node('ArgMax', ['logits' if free else 'image'], ['label'], axis=1, keepdims=0),
        helper.make_node('Cast', ['label'], ['mask'], to=TensorProto.INT32),
    ]
    if free:
        shape = [
            helper.make_node('Shape', ['image'], ['shape'], start=0, end=2),
            helper.make_node('Concat', ['shape', 'mask_size'], ['sizes'], axis=0),
            helper.make_node('Resize', ['image', '', '', 'sizes'], ['logits'], mode='linear'),
        ]
        nodes = [*shape, *nodes]
    outputs, inputs = (
        [('mask', TensorProto.INT32, [None] * 3)],
        [('mask_size', TensorProto.INT64, [2])],
    )
    return write(path, meta, nodes, outputs, inputs if free else ())


def mean_color(path, **settings):
    """A classifier whose scores are the means of red, green and blue, over 255."""
    words = dict(classes=['red', 'green', 'blue'])
    meta = metadata('classification', 'scores', ['scores'], **words | settings)
    nodes = [
        helper.make_node('ReduceMean', ['image'], ['mean'], axes=[2, 3], keepdims=0),
        helper.make_node('Div', ['mean', 'white'], ['scores']),
    ]
    outputs = [('scores', TensorProto.FLOAT, [None] * 2)]
    return write(path, meta, nodes, outputs, constants=[('white', np.float32(255))])


#: Of a network without metadata.
IDENTITY = (
    [helper.make_node('Identity', ['image'], ['scores'])],
    [('scores', TensorProto.FLOAT, [None] * 4)],
)
