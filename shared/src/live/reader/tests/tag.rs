//! Readers that are found by their tags.

use std::collections::HashMap;

use super::*;

#[test]
fn the_position_of_a_reader_is_found_by_its_tag() {
    let log = log(Retention::default());
    let mut readers: Vec<_> = (0..10_000).map(|_| Reader::open(&log, &[channel(0)], Since::Now)).collect();
    log.append((0..3).map(|_| draft(0, 1)).collect(), START);
    readers[7_000].set_tag(5);
    readers[7_001].set_tag(6);
    assert_eq!(readers[7_001].read(Limit { messages: 9, bytes: 999 }).unwrap().messages.len(), 3);
    let mut positions = HashMap::from([(5, None), (6, None), (7, None)]);
    let (mut at, mut parts) = (0, 1);
    while log.positions(&channel(0), &mut positions, &mut at) {
        parts += 1;
    }
    assert!(parts >= 3, "others have their turn in between: {parts}");
    let behind = |tag| positions[&tag].map(|cursor| log.count_after(&channel(0), cursor));
    assert_eq!((behind(5), behind(6), behind(7)), (Some(3), Some(0), None));
}
