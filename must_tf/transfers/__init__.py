"""One table of many transfers: every checkpoint fine-tuned on every task, beside training from scratch.

    must-transfer --table table.yaml --checkpoint student=runs/student --scratch --out runs/transfers

The table file names the columns; its paths are relative to it:

    columns:
      cifar100:                             # the name, of the column and of a folder
        task: classification                # as in must_transfer_<task>
        config_file: [shared.yaml, transfer_cifar100.yaml]
        figure: top1                        # of evaluation.json; the task's own where nothing is said
        higher_is_better: true              # likewise

One run is one cell and one seed, in OUT/<row>/<column>/seed-<n>; beside it lie its settings (.yaml) and output (.log).
All cells of a column share every setting but the start. A row from scratch is trained as the others are. The figure is
that of the last step: picking the best checkpoint by the very set that is reported would flatter all rows.
"""
