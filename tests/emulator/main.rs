//! The emulator, held to the reference.
