"""Small files of the form that tools/export.py writes, made by hand."""

import json
import zipfile

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


def openvino_file(onnx_path, path):
    """Write an ONNX file as OpenVINO's, with the metadata where tools/export.py puts them."""
    openvino = pytest.importorskip('openvino')
    model = openvino.Core().read_model(onnx_path)
    text = next(p.value for p in onnx.load(onnx_path).metadata_props if p.key == 'edgenext_mm')
    model.set_rt_info(text, 'edgenext_mm')
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def mean_color_of_ncnn(folder, meta):
    """The classifier of :func:`mean_color` as ncnn's folder."""
    pytest.importorskip('ncnn')
    folder.mkdir()
    layers = ['Input in0 0 1 in0', 'Pooling mean 1 1 in0 mean 0=1 4=1']
    layers += ['BinaryOp div 1 1 mean out0 0=3 1=1 2=255.0']
    (folder / 'model.ncnn.param').write_text('\n'.join(['7767517', '3 3', *layers, '']))
    (folder / 'model.ncnn.bin').write_bytes(b'')
    (folder / 'edgenext_mm.json').write_text(json.dumps(meta))
    return folder


def mean_color_of_litert(path, meta):
    """The classifier of :func:`mean_color` as LiteRT's file, for images of 32x32."""
    pytest.importorskip('ai_edge_litert')
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def made(kind, **values):
        made_of = getattr(schema, f'{kind}T')()
        for name, value in values.items():
            setattr(made_of, name, value)
        return made_of

    def buffer(value):
        return made('Buffer', data=np.frombuffer(value.tobytes(), np.uint8))

    types, operators = schema.TensorType, schema.BuiltinOperator
    shapes = dict(args_0=[1, 3, 32, 32], axes=[2], mean=[1, 3], white=[], out=[1, 3])
    tensors = [
        made('Tensor', name=name, shape=shape, type=types.FLOAT32) for name, shape in shapes.items()
    ]
    tensors[1].type, tensors[1].buffer, tensors[3].buffer = types.INT32, 1, 2
    options, kinds = (made('ReducerOptions'), made('DivOptions')), schema.BuiltinOptions
    graph = made('SubGraph', name='main', tensors=tensors, inputs=[0], outputs=[4])
    graph.operators = [
        made('Operator', opcodeIndex=i, inputs=ins, outputs=outs, builtinOptionsType=kind,
             builtinOptions=option)
        for i, (ins, outs, kind, option) in enumerate([
            ([0, 1], [2], kinds.ReducerOptions, options[0]),
            ([2, 3], [4], kinds.DivOptions, options[1]),
        ])
    ]  # fmt: skip
    codes = [
        made('OperatorCode', builtinCode=code, deprecatedBuiltinCode=code, version=1)
        for code in (operators.MEAN, operators.DIV)
    ]
    signature = made(
        'SignatureDef',
        signatureKey='serving_default',
        inputs=[made('TensorMap', name='args_0', tensorIndex=0)],
        outputs=[made('TensorMap', name='output_0', tensorIndex=4)],
    )
    buffers = [made('Buffer'), buffer(np.array([2, 3], np.int32)), buffer(np.float32(255))]
    model = made('Model', version=3, subgraphs=[graph], buffers=buffers, operatorCodes=codes)
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b'TFL3')
    path.write_bytes(builder.Output())
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('edgenext_mm.json', json.dumps(meta))
    return path
