use lockstep_domain::external::External;

use super::*;

/// A file as the first release wrote it. It must load for ever: supervisors outlive upgrades.
const FORMAT_1: &str = include_str!("../../tests/formats/spec-1.json");

#[test]
fn loads_the_first_format() {
    let spec: SpecFile = serde_json::from_str(FORMAT_1).unwrap();
    assert_eq!(spec.port, Some(20_001));
    assert_eq!(spec.arm.to_string(), "orders@1.4.0 (c2)");
    assert_eq!(
        serde_json::to_value(&spec).unwrap(),
        serde_json::from_str::<serde_json::Value>(FORMAT_1).unwrap()
    );
}

#[test]
fn loads_every_later_format() {
    for text in [
        include_str!("../../tests/formats/spec-2.json"),
        include_str!("../../tests/formats/spec-3.json"),
        include_str!("../../tests/formats/spec-4.json"),
        include_str!("../../tests/formats/spec-5.json"),
        include_str!("../../tests/formats/spec-6.json"),
        include_str!("../../tests/formats/spec-7.json"),
        include_str!("../../tests/formats/spec-8.json"),
        include_str!("../../tests/formats/spec-9.json"),
        include_str!("../../tests/formats/spec-10.json"),
        include_str!("../../tests/formats/spec-11.json"),
        include_str!("../../tests/formats/spec-12.json"),
        include_str!("../../tests/formats/spec-13.json"),
        include_str!("../../tests/formats/spec-14.json"),
        include_str!("../../tests/formats/spec-15.json"),
    ] {
        let spec: SpecFile = serde_json::from_str(text).unwrap();
        assert!(spec.rooms.is_some() && spec.format <= FORMAT);
        let again: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), again);
    }
}

#[test]
fn debug_output_has_no_secret() {
    let spec: SpecFile = serde_json::from_str(FORMAT_1).unwrap();
    let request = InstanceSpec {
        data_of: None,
        listen: None,
        resources: BTreeMap::new(),
        resource: None,
        own: None,
        filled: BTreeMap::new(),
        urls: BTreeMap::new(),
        calls: None,
        ports: InstancePorts::Server,
        id: spec.id.clone(),
        environment: spec.environment.clone(),
        arm: spec.arm.clone(),
        job: spec.job.clone(),
        run: spec.run.clone(),
        variables: spec.variables.clone(),
        release: spec.release,
    };
    let printed = format!("{spec:?} {request:?}");
    assert!(printed.contains("DATABASE_PASSWORD"), "{printed}");
    assert!(!printed.contains("correct horse"), "{printed}");
}

/// Asks for what a file is of, run otherwise, with one value that is filled in.
fn asking(file: &SpecFile, run: RunSpec, (name, value): (&str, &str)) -> InstanceSpec {
    InstanceSpec {
        data_of: None,
        listen: None,
        resources: BTreeMap::new(),
        resource: None,
        own: None,
        filled: [(name.to_owned(), value.to_owned())].into(),
        urls: BTreeMap::new(),
        calls: None,
        ports: InstancePorts::Server,
        id: file.id.clone(),
        environment: file.environment.clone(),
        arm: file.arm.clone(),
        job: None,
        run: run.with_values_noted(),
        variables: BTreeMap::new(),
        release: file.release,
    }
}

#[test]
fn a_request_is_read_as_it_was_written_and_one_for_another_address_has_its_format() {
    let file: SpecFile = serde_json::from_str(include_str!("../../tests/formats/spec-13.json")).unwrap();
    assert_eq!(file.address(), Some("10.0.0.5:20001".parse().unwrap()));
    assert_eq!(file.process_variables()["HOST"], "10.0.0.5");
    let mut spec = asking(&file, file.run.clone(), ("AT", "${self.host}:${self.port}"));
    spec.listen = file.listen;
    spec.resources.insert("db".parse().unwrap(), "postgres://app:x%40y@db:5432/shop".parse().unwrap());
    let again: InstanceSpec = serde_json::from_slice(&serde_json::to_vec(&spec).unwrap()).unwrap();
    assert!(again == spec);
    let filled = spec.with_port(Some(20_001)).unwrap();
    assert_eq!(filled.variables["AT"], "10.0.0.5:20001");
    let (limits, rooms) = (file.log, file.rooms.clone().unwrap());
    let written =
        SpecFile::new(filled, file.release_folder, Some(20_001), limits, rooms, BTreeMap::new(), None);
    assert_eq!(written.format, FORMAT_ELSEWHERE);
}

#[test]
fn an_address_is_filled_after_the_variables_that_it_refers_to() {
    let file: SpecFile = serde_json::from_str(include_str!("../../tests/formats/spec-10.json")).unwrap();
    let mut run = file.run.clone();
    run.variables = [("BASE".to_owned(), "v-${self.version}".to_owned())].into_iter().collect();
    let certificate = Some("${env.HOST_NAME}".to_owned());
    run.external = Some(External { certificate, ..External::at("https://${env.HOST_NAME}/${env.BASE}") });
    let mut spec = asking(&file, run, ("HOST_NAME", "${self.environment}.partner.test"));
    let filled = spec.clone().with_port(Some(20_001)).unwrap();
    let external = filled.run.external.clone().unwrap();
    assert_eq!(external.address, "https://production.partner.test/v-1.4.0");
    assert_eq!(external.certificate.as_deref(), Some("production.partner.test"));
    let (limits, rooms) = (file.log, file.rooms.clone().unwrap());
    let written =
        SpecFile::new(filled, file.release_folder, Some(20_001), limits, rooms, BTreeMap::new(), None);
    assert_eq!(written.format, FORMAT_BEHIND_TLS);
    let told: External = serde_json::from_str(&written.process_variables()[VARIABLE]).unwrap();
    assert_eq!(told, external);
    spec.filled.clear();
    let error = spec.with_port(Some(20_001)).unwrap_err().to_string();
    assert!(error.contains("HOST_NAME"), "{error}");
}

#[test]
fn what_comes_before_is_filled_in_and_has_a_format_of_its_own() {
    let file: SpecFile = serde_json::from_str(include_str!("../../tests/formats/spec-15.json")).unwrap();
    let mut run = file.run.clone();
    run.prepare.as_mut().unwrap().command.push("--for=${self.version}".to_owned());
    let filled = asking(&file, run, ("REGION", "north")).with_port(None).unwrap();
    assert_eq!(filled.run.prepare.as_ref().unwrap().command, ["./warm", "--all", "--for=1.4.0"]);
    let (limits, rooms) = (file.log, file.rooms.clone().unwrap());
    let written = SpecFile::new(filled, file.release_folder, None, limits, rooms, BTreeMap::new(), None);
    assert_eq!(written.format, FORMAT);
}

#[test]
fn a_host_and_a_port_are_filled_in_wherever_an_address_is() {
    let file: SpecFile = serde_json::from_str(include_str!("../../tests/formats/spec-5.json")).unwrap();
    let release = tempfile::tempdir().unwrap();
    std::fs::create_dir(release.path().join("conf")).unwrap();
    let conf = "server ${service.stock.host}:${service.stock.port}; $host ${x";
    std::fs::write(release.path().join("conf/orders.conf"), conf).unwrap();
    let mut run = file.run.clone();
    run.command = vec!["./orders".to_owned(), "--pay=${service.payments.host}".to_owned()];
    run.variables = [("PAY_PORT".to_owned(), "${service.payments.port}".to_owned())].into_iter().collect();
    let mut spec = asking(&file, run, ("AT", "${service.audit.host}:${service.audit.port}"));
    let called: Vec<_> = spec.listened_for(release.path()).iter().map(ToString::to_string).collect();
    assert_eq!(called, ["audit", "payments", "stock"]);
    let error = spec.clone().with_port(Some(20_001)).unwrap_err().to_string();
    assert!(error.contains("`${service.audit.host}` is not known"), "{error}");
    let mut calls = file.calls.clone().unwrap();
    for (name, port) in [("audit", 17_000), ("stock", 17_002)] {
        calls.services.insert(name.parse().unwrap(), format!("127.64.0.9:{port}").parse().unwrap());
    }
    spec.calls = Some(calls.clone());
    let filled = spec.with_port(Some(20_001)).unwrap();
    assert_eq!(filled.run.command[1], "--pay=127.64.0.9");
    assert_eq!(filled.run.variables["PAY_PORT"], "17001");
    assert_eq!(filled.variables["AT"], "127.64.0.9:17000");
    let text = filled.fill_file(release.path(), &"conf/orders.conf".parse().unwrap(), Some(1)).unwrap();
    assert_eq!(text, "server 127.64.0.9:17002; $host ${x");
    let (limits, rooms) = (file.log, file.rooms.clone().unwrap());
    let written =
        SpecFile::new(filled, file.release_folder, Some(20_001), limits, rooms, BTreeMap::new(), None);
    assert_eq!((written.format, written.calls), (FORMAT_WITH_CALLS, Some(calls)));
}

#[test]
fn configuration_overrides_the_version_and_the_port_overrides_both() {
    let mut spec: SpecFile = serde_json::from_str(FORMAT_1).unwrap();
    spec.run.variables = [("LEVEL", "info"), ("PORT", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    spec.variables = [("LEVEL", "debug")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let variables = spec.process_variables();
    assert_eq!(variables["LEVEL"], "debug");
    assert_eq!(variables["PORT"], "20001");
}
