use super::*;
use proptest::prelude::*;

/// The properties of a unit: name, signature, and the bytes of the value.
fn answer(properties: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Writer::default();
    body.number(0);
    body.align(8);
    for (name, signature, value) in properties {
        body.align(8);
        body.string(name);
        body.signature(signature);
        body.align(if signature.starts_with(['t', '(']) { 8 } else { 4 });
        body.bytes.extend(*value);
    }
    let length = (body.bytes.len() - 8) as u32;
    body.bytes[..4].copy_from_slice(&length.to_ne_bytes());
    message(ANSWER, "a{sv}", &body.bytes)
}

fn message(kind: u8, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Writer::default();
    message.bytes.extend([ORDER, kind, 0, 1]);
    message.number(body.len());
    message.number(9);
    message.number(0);
    message.bytes.push(REPLY_SERIAL);
    message.signature("u");
    message.number(7);
    message.align(8);
    message.bytes.push(SIGNATURE);
    message.signature("g");
    message.signature(signature);
    let length = (message.bytes.len() - HEAD) as u32;
    message.bytes[12..HEAD].copy_from_slice(&length.to_ne_bytes());
    message.align(8);
    message.bytes.extend(body);
    message.bytes
}

fn number(number: u64) -> [u8; 8] {
    number.to_ne_bytes()
}

fn text(text: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.string(text);
    writer.bytes
}

#[test]
fn a_call_is_read_as_it_was_written() {
    let call = Call {
        path: "/org/freedesktop/systemd1/unit/a_2eservice",
        interface: "org.freedesktop.DBus.Properties",
        member: "GetAll",
        destination: Some("org.freedesktop.systemd1"),
        argument: Some(""),
    };

    let bytes = call.bytes(3);

    assert_eq!(length(bytes[..HEAD].try_into().unwrap()).unwrap(), bytes.len());
    assert_eq!(bytes[bytes.len() - 5..], [0, 0, 0, 0, 0]);
    // A call is no answer.
    assert!(read(&bytes).unwrap().is_none());
}

#[test]
fn properties_are_text_as_systemctl_writes_it() {
    let mut list = Writer::default();
    list.string("a.x");
    list.string("b.yz");
    let mut names = (list.bytes.len() as u32).to_ne_bytes().to_vec();
    names.extend(list.bytes);
    let mut error = text("org.example.Error");
    error.resize(error.len().next_multiple_of(4), 0);
    error.extend(text("it is broken"));
    let properties = [
        ("Id", "s", &text("a.x")[..]),
        ("Names", "as", &names),
        ("NRestarts", "u", &3_u32.to_ne_bytes()),
        ("ActiveEnterTimestamp", "t", &number(1_795_272_380_000_000)),
        ("MemoryCurrent", "t", &number(u64::MAX)),
        ("ConditionResult", "b", &1_u32.to_ne_bytes()),
        ("ExecMainStatus", "i", &(-1_i32).to_ne_bytes()),
        ("ExecStart", "a(sasbttttuii)", &[0; 4]),
        ("Environment", "as", &[0; 4]),
        ("LoadError", "(ss)", &error),
        ("Unwanted", "s", &text("x")),
    ];
    let bytes = answer(&properties);

    let answer = read(&bytes).unwrap().unwrap();
    assert_eq!((answer.serial, &answer.error), (7, &None));
    let wanted: Vec<_> = properties.iter().map(|(name, ..)| *name).filter(|name| *name != "Unwanted").collect();
    let found = answer.properties(&wanted).unwrap();

    let expected = [
        ("Id", "a.x"),
        ("Names", "a.x b.yz"),
        ("NRestarts", "3"),
        ("ActiveEnterTimestamp", "1795272380000000"),
        ("MemoryCurrent", "18446744073709551615"),
        ("ConditionResult", "yes"),
        ("ExecMainStatus", "-1"),
        ("Environment", ""),
        ("LoadError", "org.example.Error \"it is broken\""),
    ];
    assert_eq!(found, expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
}

#[test]
fn what_is_too_long_or_of_another_order_is_refused() {
    let head = |order: u8, body: u32, fields: u32| {
        let mut head = [order, ANSWER, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        head[4..8].copy_from_slice(&body.to_ne_bytes());
        head[12..].copy_from_slice(&fields.to_ne_bytes());
        length(head).ok()
    };

    assert_eq!(head(ORDER, 100, 9), Some(16 + 16 + 100));
    assert_eq!(head(b'l' ^ b'B' ^ ORDER, 100, 9), None);
    assert_eq!(head(ORDER, u32::MAX, 9), None);
    assert_eq!(head(ORDER, 100, u32::MAX), None);
}

#[test]
fn a_signature_is_taken_apart_by_complete_types() {
    for (signature, first) in [("ss", "s"), ("asu", "as"), ("aa{sv}s", "aa{sv}"), ("(s(uu)t)b", "(s(uu)t)"), ("a", "a")]
    {
        assert_eq!(&signature[..complete(signature.as_bytes())], first, "{signature}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        signature in "[sogbynqiuxtdhva(){}]{0,8}",
        at in 0usize..200,
        to in any::<u8>(),
    ) {
        drop(read(&bytes).map(|answer| answer.map(|answer| answer.properties(&["Id"]))));
        let deep = "(".repeat(120) + "s" + &")".repeat(120);
        for signature in [signature.as_str(), "v", "as", "(ss)", &deep] {
            let mut damaged = answer(&[("Id", signature, &bytes), ("Names", "as", &bytes)]);
            drop(read(&damaged).map(|answer| answer.map(|answer| answer.properties(&["Id", "Names"]))));
            let at = at % damaged.len();
            damaged[at] = to;
            drop(read(&damaged).map(|answer| answer.map(|answer| answer.properties(&["Id", "Names"]))));
        }
    }
}
