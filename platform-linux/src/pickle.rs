//! Reading what Python pickled.
