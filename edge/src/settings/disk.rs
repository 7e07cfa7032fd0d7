//! Settings of a bus on disk.

use std::time::Duration;

use shared::live::bus::file::Fsync;

use super::{BusAddress, Sources, table, values};

/// How a bus on disk stores messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// When messages are made durable.
    pub fsync: Fsync,
    /// Bytes on disk of all channels together; `None` is no limit.
    pub total: Option<u64>,
    /// How soon the bytes of purged messages leave the disk.
    pub purge_within: Duration,
}

/// Reads them; `bus` is where messages are stored.
pub(super) fn read(
    from: &mut Sources<'_>,
    bus: Option<&BusAddress>,
    warnings: &mut Vec<String>,
) -> Option<DiskSettings> {
    let fsync = from.read(&table::FSYNC, values::fsync);
    let total = from.read(&table::DISK_TOTAL, values::disk_limit);
    let purge_within = from.read(&table::PURGE_WITHIN, values::duration_above_zero);
    if !matches!(bus, None | Some(BusAddress::File(_))) {
        let settings = [&table::FSYNC, &table::DISK_TOTAL, &table::PURGE_WITHIN];
        for setting in settings.into_iter().filter(|setting| from.is_given(setting)) {
            let name = setting.variable();
            warnings.push(format!("{name} has no effect: TRIDENT_BUS is not a directory (file:…)"));
        }
    }
    Some(DiskSettings { fsync: fsync?, total: total?, purge_within: purge_within? })
}
