# AdamW for pretrained weights: the authors advise lower learning rates than usual downstream
# (their repository's issue 9), and layers near the image, which know most already, learn slower.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='edgenext_mm.AdamW', lr=1e-4, weight_decay=0.05),
    constructor='edgenext_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.9,
        # Norms, biases, layer scales and the temperatures of attention do not decay.
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={'xca.temperature': dict(decay_mult=0.0)},
    ),
)
