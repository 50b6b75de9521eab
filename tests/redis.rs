//! The store of used tickets on a real Redis.
