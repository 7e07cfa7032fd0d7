//! Socket.IO proper: packets and their parsers, without I/O.

mod args;
pub mod assemble;
pub mod msgpack;
pub mod packet;
pub mod text;
