# Weights, gradients, averages and the optimizer's state are shared out among the processes. For the
# list of bases of any config.
sharding = dict(type='edgenext_mm.ShardingHook')
