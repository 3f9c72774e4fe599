//! The manifests for Kubernetes: they agree with each other, with the configuration they carry, and with the program.
//! scripts/validate-k8s.sh checks them against the API's schemas.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use weir_tests::{
    Conn, Origin, Weir,
    process::{program, run},
};

/// What preStop and the drain leave of the grace period at least, in seconds.
const TO_SPARE: u64 = 5;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docker")
        .join(name)
}

/// Every document of the YAML files in a folder, with the file's name.
fn manifests(name: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "yaml") {
            continue;
        }
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        found.extend(
            documents
                .into_iter()
                .map(|document| (file.clone(), document)),
        );
    }
    assert!(!found.is_empty(), "{name} has no manifests");
    found
}

/// Every object that is sent to the API server, by kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    let mut objects = BTreeMap::new();
    for (file, object) in ["k8s", "k8s/base", "k8s/monitored"]
        .into_iter()
        .flat_map(manifests)
    {
        let Some(kind) = object["kind"].as_str().filter(|it| *it != "Kustomization") else {
            continue;
        };
        assert!(object["apiVersion"].is_string(), "{file}: {kind}");
        let name = object["metadata"]["name"].as_str();
        let name = name.unwrap_or_else(|| panic!("{file}: a {kind} without a name"));
        let key = (kind.to_owned(), name.to_owned());
        assert!(
            objects.insert(key, object.clone()).is_none(),
            "{file}: {kind} {name} is there twice"
        );
    }
    objects
}

fn get<'a>(objects: &'a BTreeMap<(String, String), Value>, kind: &str, name: &str) -> &'a Value {
    objects
        .get(&(kind.to_owned(), name.to_owned()))
        .unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Whether labels have everything that a selector asks for.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().expect("a selector");
    assert!(!wanted.is_empty(), "it would select everything");
    wanted.iter().all(|(name, value)| labels[name] == *value)
}

fn proxy_toml(file: &Path) -> toml::Table {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

/// Whole seconds of a duration such as `30s`.
fn seconds(value: &str) -> u64 {
    value.strip_suffix('s').unwrap().parse().unwrap()
}

fn port_of(address: &str) -> u64 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn every_manifest_of_a_kustomization_is_there_and_every_other_file_is_named() {
    for name in ["k8s", "k8s/base", "k8s/monitored"] {
        let listed: Value = serde_saphyr::from_str(
            &fs::read_to_string(folder(name).join("kustomization.yaml")).unwrap(),
        )
        .unwrap();
        for resource in listed["resources"].as_array().unwrap() {
            let path = folder(name).join(resource.as_str().unwrap());
            assert!(path.exists(), "{name}: {}", path.display());
        }
        if name == "k8s" {
            continue;
        }
        for (file, object) in manifests(name) {
            let sent = object["kind"].is_string() && object["kind"] != "Kustomization";
            let resources = listed["resources"].as_array().unwrap();
            assert_eq!(
                resources.iter().any(|it| *it == *file),
                sent,
                "{name}/{file}"
            );
        }
    }
}

#[test]
fn selectors_ports_and_volumes_of_the_manifests_lead_somewhere() {
    let objects = objects();
    for ((kind, name), object) in &objects {
        let spec = &object["spec"];
        match kind.as_str() {
            "Service" => {
                let template =
                    &get(&objects, "Deployment", app(&spec["selector"]))["spec"]["template"];
                assert!(
                    selects(&spec["selector"], &template["metadata"]["labels"]),
                    "{name}"
                );
                for port in spec["ports"].as_array().unwrap() {
                    assert!(
                        named_port(template, &port["targetPort"]).is_some(),
                        "{name}: {port}"
                    );
                }
            }
            "PodDisruptionBudget" => {
                let selector = &spec["selector"]["matchLabels"];
                let deployment = get(&objects, "Deployment", app(selector));
                assert!(selects(
                    selector,
                    &deployment["spec"]["template"]["metadata"]["labels"]
                ));
                // A budget that allows nothing would keep a node from being emptied for ever.
                assert!(
                    spec["maxUnavailable"].as_u64() < deployment["spec"]["replicas"].as_u64(),
                    "{name}"
                );
            }
            "NetworkPolicy" => {
                let template = &get(
                    &objects,
                    "Deployment",
                    app(&spec["podSelector"]["matchLabels"]),
                )["spec"]["template"];
                for rule in spec["ingress"].as_array().unwrap() {
                    for port in rule["ports"].as_array().unwrap() {
                        assert!(
                            named_port(template, &port["port"]).is_some(),
                            "{name}: {port}"
                        );
                        if port["port"] == "admin" {
                            let from = rule["from"]
                                .as_array()
                                .expect("the admin API is for some only");
                            assert!(!from.is_empty());
                        }
                    }
                }
            }
            "HorizontalPodAutoscaler" => {
                let target = &spec["scaleTargetRef"];
                get(
                    &objects,
                    target["kind"].as_str().unwrap(),
                    target["name"].as_str().unwrap(),
                );
                assert!(spec["minReplicas"].as_u64() < spec["maxReplicas"].as_u64());
            }
            "ServiceMonitor" => {
                let service = get(&objects, "Service", "weir-admin");
                assert!(selects(
                    &spec["selector"]["matchLabels"],
                    &service["metadata"]["labels"]
                ));
                assert!(
                    !selects(
                        &spec["selector"]["matchLabels"],
                        &get(&objects, "Service", "weir")["metadata"]["labels"]
                    ),
                    "each pod is to be scraped once"
                );
                assert_eq!(
                    spec["endpoints"][0]["port"],
                    service["spec"]["ports"][0]["name"]
                );
            }
            _ => {}
        }
        let template = &spec["template"];
        if template.is_object() {
            runs_without_rights(name, template);
        }
        if kind == "Deployment" {
            assert!(
                selects(
                    &spec["selector"]["matchLabels"],
                    &template["metadata"]["labels"]
                ),
                "{name}"
            );
            for probe in ["readinessProbe", "livenessProbe"] {
                let port = &container(template)[probe]["httpGet"]["port"];
                assert!(named_port(template, port).is_some(), "{name}: {probe}");
            }
        }
    }
    // Of one replica, as documented.
    let api = get(&objects, "Deployment", "api");
    let limits = &container(&api["spec"]["template"])["resources"]["limits"];
    assert_eq!(
        (&limits["cpu"], &limits["memory"]),
        (&"1".into(), &"2Gi".into())
    );
    assert_eq!(api["spec"]["replicas"], 2);
    assert_eq!(get(&objects, "Service", "api")["spec"]["clusterIP"], "None");
}

fn app(selector: &Value) -> &str {
    selector["app.kubernetes.io/name"].as_str().unwrap()
}

fn container(template: &Value) -> &Value {
    let containers = template["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The number of the container's port of this name.
fn named_port(template: &Value, name: &Value) -> Option<u64> {
    let ports = container(template)["ports"].as_array()?;
    let port = ports.iter().find(|port| port["name"] == *name)?;
    port["containerPort"].as_u64()
}

/// No root, nothing writable but its volumes, no capabilities, no account of the API server; every mount has a volume.
fn runs_without_rights(name: &str, template: &Value) {
    let (pod, container) = (&template["spec"], container(template));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
    assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
    let rights = &container["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"], true, "{name}");
    assert_eq!(rights["allowPrivilegeEscalation"], false, "{name}");
    assert_eq!(rights["capabilities"]["drop"][0], "ALL", "{name}");
    assert!(
        container["resources"]["limits"]["memory"].is_string(),
        "{name}"
    );
    let volumes = pod["volumes"].as_array().unwrap();
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert!(
            volumes.iter().any(|volume| volume["name"] == mount["name"]),
            "{name}: {mount}"
        );
        assert!(
            mount["subPath"].is_null(),
            "{name}: a changed file would not arrive"
        );
    }
}

#[tokio::test]
async fn the_pods_of_weir_agree_with_the_configuration_they_mount() {
    let file = folder("k8s/base/proxy.toml");
    let checked = run("weir", &["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let config = proxy_toml(&file);
    let objects = objects();
    let template = &get(&objects, "Deployment", "weir")["spec"]["template"];
    let container = container(template);

    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let listens = port_of(&text(&config["listener"][0]["address"]));
    assert_eq!(named_port(template, &"http".into()), Some(listens));
    let admin = port_of(&text(&config["admin"]["listen"]));
    assert_eq!(named_port(template, &"admin".into()), Some(admin));
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");

    // The pod may take as long as preStop and the drain need.
    let sleep = container["lifecycle"]["preStop"]["exec"]["command"]
        .as_array()
        .unwrap();
    assert_eq!(sleep[0], "sleep");
    let drain = seconds(&text(&config["timeouts"]["drain"]));
    let before: u64 = sleep[1].as_str().unwrap().parse().unwrap();
    let grace = template["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    assert!(
        grace >= before + drain + TO_SPARE,
        "{grace} < {before} + {drain}"
    );

    // What the file names is mounted.
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap().to_owned())
        .collect();
    let command = container["command"].as_array().unwrap();
    let named = [
        command.last().unwrap().as_str().unwrap().to_owned(),
        text(&config["admin"]["tokens"]),
        text(&config["admin"]["socket"]),
    ];
    for path in &named {
        let parent = Path::new(path).parent().unwrap().to_str().unwrap();
        assert!(
            mounts.iter().any(|mount| mount == parent),
            "{path}: {mounts:?}"
        );
    }
    assert_eq!(container["env"][0]["value"], format!("unix:{}", named[2]));

    // It finds the replicas by the headless service.
    let server = text(&config["upstream"]["api"]["servers"][0]["address"]);
    let (host, port) = server.rsplit_once(':').unwrap();
    let service = get(&objects, "Service", host);
    assert_eq!(service["spec"]["ports"][0]["port"].to_string(), port);
    let api = &get(&objects, "Deployment", "api")["spec"]["template"];
    assert_eq!(
        named_port(api, &"http".into()).unwrap().to_string(),
        port,
        "a headless service translates no ports"
    );

    // The autoscaler of weir keeps away from the limit of connections.
    let scaled = get(&objects, "HorizontalPodAutoscaler", "weir");
    let open = &scaled["spec"]["metrics"][0]["pods"];
    assert_eq!(open["metric"]["name"], "weir_connections_open");
    let most: i64 = open["target"]["averageValue"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(most < config["connections"]["max"].as_integer().unwrap());
}

#[tokio::test]
async fn the_autoscalers_metrics_are_made_of_metrics_that_weir_has() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    weir.get("/").await.expect(200);
    let metrics = weir.admin.text("/metrics").await;
    let adapter = manifests("k8s/monitored")
        .into_iter()
        .find(|(file, _)| file == "adapter-values.yaml")
        .unwrap()
        .1;
    let mut offered = Vec::new();
    for rule in adapter["rules"]["custom"].as_array().unwrap() {
        offered.push(rule["name"]["as"].as_str().unwrap().to_owned());
        let query = rule["seriesQuery"].as_str().unwrap();
        let (metric, _) = query.split_once('{').unwrap();
        assert!(
            metrics.contains(&format!("\n{metric}")),
            "weir has no {metric}:\n{metrics}"
        );
        assert!(
            rule["metricsQuery"].as_str().unwrap().contains(metric),
            "{rule}"
        );
    }
    let mut asked = 0;
    for ((kind, name), object) in objects() {
        if kind != "HorizontalPodAutoscaler" {
            continue;
        }
        for metric in object["spec"]["metrics"].as_array().unwrap() {
            let of = ["object", "pods"]
                .iter()
                .find_map(|it| metric.get(it))
                .unwrap();
            let wanted = of["metric"]["name"].as_str().unwrap();
            assert!(
                offered.iter().any(|it| it == wanted),
                "{name}: {wanted} is not in {offered:?}"
            );
            asked += 1;
        }
    }
    assert_eq!(asked, offered.len());
}

#[tokio::test]
async fn the_secret_of_tokens_opens_the_admin_api_to_prometheus_and_to_the_operator() {
    let made = Command::new(folder("k8s/tokens.sh"))
        .arg("ana")
        .env("WEIR", program("weir"))
        .output()
        .unwrap();
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success(), "{said}");
    let secret: Value = serde_saphyr::from_str(&String::from_utf8(made.stdout).unwrap()).unwrap();
    let field = |key: &str| {
        use base64::Engine as _;
        let encoded = secret["data"][key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key}"));
        String::from_utf8(
            base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .unwrap(),
        )
        .unwrap()
    };
    let objects = objects();
    let volumes = &get(&objects, "Deployment", "weir")["spec"]["template"]["spec"]["volumes"];
    let mounted = volumes
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "tokens")
        .unwrap();
    assert_eq!(mounted["secret"]["secretName"], secret["metadata"]["name"]);
    let monitor = get(&objects, "ServiceMonitor", "weir");
    let credentials = &monitor["spec"]["endpoints"][0]["authorization"]["credentials"];
    assert_eq!(credentials["name"], secret["metadata"]["name"]);
    let prometheus = field(credentials["key"].as_str().unwrap());
    let key = mounted["secret"]["items"][0]["key"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    fs::write(&file, field(key)).unwrap();

    // As in a pod: on every address, where the tokens are what protects it.
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with(&format!(
            "admin = {{ listen = '0.0.0.0:0', tokens = '{}' }}",
            file.display()
        ))
        .start()
        .await;
    let port = port_of(weir.admin.address());
    let admin = weir_tests::Admin::new(([127, 0, 0, 1], u16::try_from(port).unwrap()).into());
    assert_eq!(admin.status("/readyz").await, 200);
    assert_eq!(admin.status("/healthz").await, 200);
    assert_eq!(admin.status("/metrics").await, 401);
    let change = r#"{"compression":{"level":2}}"#;
    let reader = admin.with_token(&prometheus);
    assert_eq!(reader.status("/metrics").await, 200);
    assert_eq!(reader.try_patch(change).await.status, 403);
    let operator = said.trim().rsplit_once(' ').unwrap().1;
    assert_eq!(
        admin.with_token(operator).try_patch(change).await.status,
        200
    );
    // Kubelet asks by the pod's address and names it; it has no token.
    let mut probe = Conn::open(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()).await;
    let asked = format!("GET /readyz HTTP/1.1\r\nHost: 10.42.0.17:{port}\r\n\r\n");
    probe.send(&asked).await;
    probe.answer().await.expect(200);
}
