"""Fine-tunes every checkpoint on every task and compares them in one table, beside training from scratch.

    must-transfer --table table.yaml --checkpoint student=runs/student --scratch --out runs/transfers

The table file names the columns. Its paths are relative to it:

    columns:
      cifar100:                             # the name of the column and of a folder
        task: classification                # as in must_transfer_<task>
        config_file: [shared.yaml, transfer_cifar100.yaml]
        figure: top1                        # a metric in evaluation.json; default: the task's headline
        higher_is_better: true              # default: as for the task's headline
        rows: [student, scratch]            # default: all rows of the command
        seeds: 3                            # default: --seeds
      city-masks: {task: masks, config_file: [shared.yaml, city.yaml]}
      city-boxes: {task: detection, runs_of: city-masks}  # another metric of the same runs

Each run is one cell and one seed, in OUT/<row>/<column>/seed-<n>; its settings (.yaml) and output (.log) are beside it.
All runs of a column share every setting except for the initial weights. Only what protects trained weights, frozen
batch normalisation and a slower backbone, is not used from scratch. The metric is that of the last step: choosing the
best checkpoint by the set that is reported would flatter all rows.
"""
