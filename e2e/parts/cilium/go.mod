module his-operator.io/e2e/cilium

go 1.26.0

// Nothing is built from it: its definitions of kinds are installed.
require github.com/cilium/cilium v1.20.2
