use super::*;
use proptest::prelude::*;
use simple_dns::{Name, Question};

fn query(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new_unchecked(name),
        QTYPE::TYPE(kind),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

/// The code of the answer, and its addresses.
fn asked(names: &Names, message: &[u8]) -> (RCODE, Vec<Ipv4Addr>) {
    let answer = names.answer(message).unwrap();
    let answer = Packet::parse(&answer).unwrap();
    assert_eq!(answer.id(), 7);
    assert!(answer.has_flags(PacketFlag::RESPONSE));
    let addresses = answer.answers.iter().map(|record| match &record.rdata {
        RData::A(a) => Ipv4Addr::from(a.address),
        other => panic!("{other:?}"),
    });
    (answer.rcode(), addresses.collect())
}

fn address(names: &Names, name: &str) -> Ipv4Addr {
    let (code, addresses) = asked(names, &query(name, TYPE::A));
    assert_eq!((code, addresses.len()), (RCODE::NoError, 1), "{name}");
    addresses[0]
}

#[test]
fn a_name_has_one_address_however_it_is_spelled_and_is_found_again_by_it() {
    let names = Names::default();
    let first = address(&names, "api.example");
    assert_eq!(first, Ipv4Addr::new(198, 18, 0, 1));
    assert_eq!(address(&names, "API.Example"), first);
    let second = address(&names, "other.example");
    assert_ne!(second, first);
    assert_eq!(names.of(first).as_deref(), Some("api.example"));
    assert_eq!(names.of(second).as_deref(), Some("other.example"));
    assert_eq!(names.of(Ipv4Addr::new(198, 18, 0, 3)), None);
    assert_eq!(names.of(Ipv4Addr::LOCALHOST), None);
}

#[test]
fn a_name_has_no_other_record_so_that_nobody_waits_for_ipv6() {
    let names = Names::default();
    for kind in [TYPE::AAAA, TYPE::HTTPS, TYPE::SRV, TYPE::MX, TYPE::TXT] {
        let (code, addresses) = asked(&names, &query("api.example", kind));
        assert_eq!((code, addresses), (RCODE::NoError, vec![]), "{kind:?}");
    }
}

#[test]
fn what_no_host_is_called_does_not_exist() {
    let names = Names::default();
    for name in [
        "1.0.18.198.in-addr.arpa",
        "a.invalid",
        "10.0.0.1",
        "2130706433",
        "a b",
    ] {
        let (code, addresses) = asked(&names, &query(name, TYPE::A));
        assert_eq!((code, addresses), (RCODE::NameError, vec![]), "{name}");
    }
    assert_eq!(address(&names, "localhost"), Ipv4Addr::LOCALHOST);
    assert_eq!(address(&names, "app.localhost"), Ipv4Addr::LOCALHOST);
    assert_eq!(names.of(Ipv4Addr::new(198, 18, 0, 1)), None);
}

#[test]
fn the_oldest_name_is_forgotten_and_its_address_is_nobody_elses() {
    let names = Names::default();
    let first = address(&names, "first.example");
    for n in 0..MOST_NAMES {
        assert_ne!(address(&names, &format!("n{n}.example")), first);
    }
    assert_eq!(names.of(first), None);
    assert_ne!(address(&names, "first.example"), first);
    let known = names.known();
    assert_eq!(known.given.len(), MOST_NAMES);
    assert_eq!(known.names.len(), MOST_NAMES);
    assert_eq!(known.addresses.len(), MOST_NAMES);
}

#[test]
fn addresses_stay_within_the_network() {
    let names = Names::default();
    names.known().last = ADDRESSES - 3;
    assert_eq!(
        address(&names, "a.example"),
        Ipv4Addr::new(198, 19, 255, 254)
    );
    assert_eq!(address(&names, "b.example"), Ipv4Addr::new(198, 18, 0, 1));
}

#[test]
fn what_is_no_question_is_refused_or_not_answered() {
    let names = Names::default();
    let mut answer = query("api.example", TYPE::A);
    answer[2] |= 0x80;
    for nothing in [&answer[..], b"", b"\0\x07\x01", &[0; 11]] {
        assert_eq!(names.answer(nothing), None, "{nothing:?}");
    }
    let mut update = query("api.example", TYPE::A);
    update[2] |= 5 << 3;
    assert_eq!(asked(&names, &update).0, RCODE::NotImplemented);
    let mut none = query("api.example", TYPE::A);
    none[5] = 0;
    assert_eq!(asked(&names, &none).0, RCODE::FormatError);
    let mut two = query("api.example", TYPE::A);
    two[5] = 2;
    assert_eq!(asked(&names, &two).0, RCODE::FormatError);
    // A name that points at itself.
    let mut circle = query("a", TYPE::A);
    circle.truncate(12);
    circle.extend([0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(asked(&names, &circle).0, RCODE::FormatError);
}

#[test]
fn what_follows_the_question_is_not_looked_at() {
    let names = Names::default();
    let mut extended = query("api.example", TYPE::A);
    // One additional record: EDNS, as most resolvers send it, and one that lies.
    extended[11] = 1;
    extended.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    assert_eq!(asked(&names, &extended).1.len(), 1);
    extended[10] = 255;
    extended.extend([0xc0; 40]);
    assert_eq!(asked(&names, &extended).1.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer_of_theirs_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..LONGEST)) {
        let names = Names::default();
        if let Some(answer) = names.answer(&bytes) {
            prop_assert_eq!(&answer[..2], &bytes[..2]);
            prop_assert!(Packet::parse(&answer).is_ok());
            prop_assert!(answer.len() <= bytes.len() + 32);
        }
    }

    #[test]
    fn a_question_with_changed_bytes_is_answered_in_bounds(
        name in "[a-z0-9.-]{1,60}",
        changes in proptest::collection::vec((0usize..90, any::<u8>()), 0..6),
    ) {
        let names = Names::default();
        let mut message = query(&name, TYPE::A);
        for (at, byte) in changes {
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
        }
        if let Some(answer) = names.answer(&message) {
            prop_assert!(answer.len() <= message.len() + 32);
            for address in Packet::parse(&answer).unwrap().answers {
                let RData::A(a) = address.rdata else { panic!("{address:?}") };
                let given = Ipv4Addr::from(a.address);
                prop_assert!(given.is_loopback() || names.of(given).is_some());
            }
        }
    }
}
