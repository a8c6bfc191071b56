"""The experiments that `--experiment` names, and their configs.

registered         the experiments, registered with Model Garden
registry_imports   the one list of imports with side effects
experiment_config  from --experiment, --config_file and --params_override to one checked config
"""
