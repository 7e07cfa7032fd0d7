//! Records as bytes, and back.

use proptest::prelude::*;

use bytes::Bytes;

use super::{fields::field, *};
use crate::pure::Payload;

const SALT: u32 = 7;

fn drafts() -> Vec<Draft> {
    let binary = Payload::with_attachments(
        br#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        vec![Bytes::from_static(b"\x00\xff\r\n"), Bytes::new()],
    );
    let plain = Draft::new("chat.lobby".parse().unwrap(), Payload::from_text("时间\r\n"));
    vec![
        plain.clone(),
        plain.clone().event("chat message".parse().unwrap()),
        Draft { from: Some("Zoë".into()), ..plain.clone() },
        plain.clone().by(Some("user-7".into())),
        Draft { payload: binary.unwrap(), from: Some("".into()), ..plain },
    ]
}

#[test]
fn what_is_written_reads_back() {
    let mut encoder = Encoder::new(SALT, 1_000);
    let group = Group { synced: 5, reserved_ms: 6, boot: u64::MAX };
    let hole = Hole { after: Cursor::new(1, 2), up_to: Cursor::new(3, 4) };
    let change = Change { table: "t", key: b"k", value: Some(b""), until_ms: 9 };
    encoder.group(group);
    encoder.hole(hole);
    encoder.state(change, false);
    encoder.state(Change { value: None, until_ms: 0, ..change }, true);
    let id = Cursor::new(1_763_800_000_000, 7);
    let places: Vec<_> = drafts().iter().map(|draft| encoder.message(id, draft, true)).collect();
    let (mut rest, mut at, mut read) = (encoder.bytes(), 1_000, Vec::new());
    while let Framed::Whole { body, length } = framed(rest, SALT, at) {
        read.push((at, length, parse(body).unwrap()));
        (rest, at) = (&rest[length..], at + length as u64);
    }
    assert!(rest.is_empty());
    assert!(matches!(read[0].2, Record::Group(read) if read == group) && read[0].1 == GROUP);
    assert!(matches!(read[1].2, Record::Hole(read) if read == hole));
    let Record::State { is_last: false, fields } = read[2].2 else { panic!("{:?}", read[2]) };
    assert_eq!(super::change(fields), Some(change));
    let Record::State { is_last: true, fields } = read[3].2 else { panic!("{:?}", read[3]) };
    assert_eq!(super::change(fields), Some(Change { value: None, until_ms: 0, ..change }));
    for ((at, length, record), (place, wanted)) in read[4..].iter().zip(places.iter().zip(drafts())) {
        let Record::Message { id: read, is_last: true, fields } = record else { panic!("{record:?}") };
        assert_eq!((*read, (*at, *length), draft(fields)), (id, *place, Some(wanted.clone())));
        assert_eq!(channel(fields), Some(wanted.channel));
    }
}

/// A later version may add fields, and a reader of this one skips them.
#[test]
fn unknown_fields_are_skipped() {
    let wanted = drafts().remove(4);
    let mut bytes = Vec::new();
    field(&mut bytes, 200, &[1; 300]);
    let mut encoder = Encoder::new(SALT, 0);
    encoder.message(Cursor::ZERO, &wanted, true);
    bytes.extend_from_slice(&encoder.bytes()[FRAME + MESSAGE_HEAD..]);
    field(&mut bytes, 201, b"");
    assert_eq!(draft(&bytes), Some(wanted));
    assert_eq!(draft(&bytes[..bytes.len() - 1]), None, "a field that is cut");
}

#[test]
fn a_record_is_valid_in_its_place_only() {
    let mut encoder = Encoder::new(SALT, 64);
    encoder.group(Group::default());
    let bytes = encoder.bytes();
    assert!(matches!(framed(bytes, SALT, 64), Framed::Whole { length: GROUP, .. }));
    assert!(matches!(framed(bytes, SALT, 65), Framed::Bad));
    assert!(matches!(framed(bytes, SALT + 1, 64), Framed::Bad));
    assert!(matches!(framed(&bytes[..GROUP - 1], SALT, 64), Framed::Short(GROUP)));
    assert!(matches!(framed(&[0; 64], SALT, 64), Framed::Bad), "zeros, as a file system leaves them");
}

proptest! {
    #[test]
    fn numbers_read_back(number: u64) {
        let mut bytes = Vec::new();
        write_number(&mut bytes, number);
        let mut rest = &bytes[..];
        prop_assert_eq!(read_number(&mut rest), Some(number));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = framed(&bytes, SALT, 0);
        let _ = parse(&bytes);
        let _ = draft(&bytes);
        let _ = change(&bytes);
    }

    #[test]
    fn a_changed_bit_is_noticed(bit in 0..GROUP * 8) {
        let mut encoder = Encoder::new(SALT, 64);
        encoder.group(Group { synced: 1, reserved_ms: 2, boot: 3 });
        let mut bytes = encoder.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let is_whole = matches!(framed(&bytes, SALT, 64), Framed::Whole { .. });
        prop_assert!(!is_whole);
    }
}
