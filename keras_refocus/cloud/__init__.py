"""Pictures anywhere: object storage, folders that are watched, events, batches, collecting.

Floor 3, serving half. Each library of a store or a service is imported where it is first needed.

    storage    folders and stores of objects as one kind of place: listed, read, written whole
    retries    which failures are temporary, back-off, and messages without secrets
    restoring  one picture from its place to its place, and many of them, a few at a time
    mirror     the names of a store as a folder, for what works on folders
    watch      a folder or a store that is watched for what arrives
    events     what AWS Lambda runs when pictures arrive in a bucket
    collect    photos from Unsplash, from its data set, from lists of addresses
    beam_job   batches on Apache Beam
    beam_steps the steps of a batch, as they travel to workers
"""
