"""The whole loop on a person's own data, from one plan file: `must run plan.yaml`.

    out: runs/home
    datasets:
      street: {format: coco, images: street/images, annotations: street/instances.json}
      rooms:  {format: rgbd, root: rooms}
      album:  {format: images, root: album}    # no labels
    start: efficientnet-lite0                  # weights to start from; also a run, a checkpoint, or random
    student: {hours: 2}                        # or {steps: 5000}; left out, the steps follow from the data

The loop converts every dataset and sets validation photos apart, trains a teacher for every task that some images lack
labels for, lets the teachers add those labels, trains one student on everything, evaluates it beside its teachers,
fine-tunes it elsewhere, exports it, and writes a page. `plan.py` documents all keys.

Every step is one command of this project, which is printed and can be repeated by hand. This room only plans and
starts commands: it trains and converts nothing itself.

    command        the command itself
    plan           what a plan can say
    plan_file      reads its file and collects the mistakes
    variables      environment variables in its texts
    plan_rules     rules about its names and settings
    formats        how a dataset of a plan becomes arguments of a conversion
    facts          what is in a dataset, before or after its conversion
    settings       training settings that fit the data
    records        the commands that turn the datasets into records
    shared_photos  validation photos in training data
    disk           the bytes that the steps write
    checks         do the datasets, teachers and transfers fit each other?
    trainings      the commands after those: teachers, labels, student, export
    transfers      the command that fine-tunes them elsewhere
    steps          a step, its execution, and what is done already
    run            executes the steps of a plan
    dry_run        prints the steps with their costs
    pace           measures the steps on a few images
    costs          what the steps cost, estimated from that
    report         the table and the page
"""
