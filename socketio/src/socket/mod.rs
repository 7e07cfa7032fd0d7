//! Socket.IO proper: packets and their parsers, without I/O.

pub(crate) mod args;
pub mod assemble;
pub(crate) mod client;
pub(crate) mod data;
#[cfg(feature = "msgpack")]
pub mod msgpack;
pub mod packet;
mod reserved;
pub mod text;

#[cfg(test)]
mod vectors;
