"""`must serve`: exports over HTTP, for those without TensorFlow Serving.

    command      flags, and the process from its start to its end
    app          the addresses, and what all requests pass through
    tf_serving   TensorFlow Serving's REST protocol
    kserve       KServe's protocol v2, with binary tensors
    reading      requests: their size, their time, and the photos in them
    encoding     outputs as JSON, NumPy files and PNG
    batching     joins photos of several requests into one call of the model
    models       loaded exports; newer versions replace them
    http         connections that do not send a request in time
    metrics      counters for Prometheus
    page.html    the page at /

The packages beyond the project's own are those of the extra: pip install 'must-tf[serve]'.
"""
