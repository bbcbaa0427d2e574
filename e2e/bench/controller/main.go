// The controller that an engineer writes in an afternoon with controller-runtime: one custom resource, server-side apply of
// its children, a watch on everything it owns. The benchmark compares the operator with it, so it stays small and idiomatic.
package main

import (
	"context"
	"flag"
	"os"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

var group = schema.GroupVersion{Group: "bench.his-operator.io", Version: "v1"}

// Hospital is the custom resource.
type Hospital struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

// Spec is what a user asks for.
type Spec struct {
	Host string `json:"host"`
}

// Status is what was done.
type Status struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// HospitalList is a list of them.
type HospitalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Hospital `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (h *Hospital) DeepCopyObject() runtime.Object {
	out := *h
	out.ObjectMeta = *h.ObjectMeta.DeepCopy()
	return &out
}

// DeepCopyObject implements runtime.Object.
func (l *HospitalList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]Hospital, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Hospital)
	}
	return &out
}

type reconciler struct {
	client.Client
	// The children of every hospital as JSON, with words in place of name, host and UID.
	template string
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var hospital Hospital
	if err := r.Get(ctx, request.NamespacedName, &hospital); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	children, err := r.children(&hospital)
	if err != nil {
		return ctrl.Result{}, err
	}
	for i := range children {
		child := &children[i]
		if err := controllerutil.SetControllerReference(&hospital, child, r.Scheme()); err != nil {
			return ctrl.Result{}, err
		}
		configuration := client.ApplyConfigurationFromUnstructured(child)
		if err := r.Apply(ctx, configuration, client.ForceOwnership, client.FieldOwner("bench")); err != nil {
			return ctrl.Result{}, err
		}
	}
	if hospital.Status.ObservedGeneration == hospital.Generation {
		return ctrl.Result{}, nil
	}
	before := hospital.DeepCopyObject().(*Hospital)
	hospital.Status.ObservedGeneration = hospital.Generation
	return ctrl.Result{}, r.Status().Patch(ctx, &hospital, client.MergeFrom(before))
}

func (r *reconciler) children(hospital *Hospital) ([]unstructured.Unstructured, error) {
	words := strings.NewReplacer("TENANT-NAME", hospital.Name, "TENANT-HOST", hospital.Spec.Host, "TENANT-UID", string(hospital.UID))
	var objects []map[string]any
	if err := json.Unmarshal([]byte(words.Replace(r.template)), &objects); err != nil {
		return nil, err
	}
	children := make([]unstructured.Unstructured, len(objects))
	for i := range objects {
		children[i].Object = objects[i]
	}
	return children, nil
}

func main() {
	file := flag.String("children", "", "file with the children's template")
	concurrency := flag.Int("concurrency", 16, "hospitals that are reconciled at the same time")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*file, *concurrency); err != nil {
		ctrl.Log.Error(err, "ended")
		os.Exit(1)
	}
}

func run(file string, concurrency int) error {
	template, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	scheme.AddKnownTypes(group, &Hospital{}, &HospitalList{})
	metav1.AddToGroupVersion(scheme, group)

	config := ctrl.GetConfigOrDie()
	config.QPS = -1 // The API server's own fairness is the limit, as it is for the operator.
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		LeaderElection:          true,
		LeaderElectionID:        "bench",
		LeaderElectionNamespace: "default",
	})
	if err != nil {
		return err
	}
	route := &unstructured.Unstructured{}
	route.SetAPIVersion("gateway.networking.k8s.io/v1")
	route.SetKind("HTTPRoute")
	err = ctrl.NewControllerManagedBy(manager).
		For(&Hospital{}).
		Owns(&corev1.Namespace{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&corev1.Secret{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ResourceQuota{}).
		Owns(&corev1.LimitRange{}).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&networkingv1.NetworkPolicy{}).
		Owns(&policyv1.PodDisruptionBudget{}).
		Owns(&appsv1.Deployment{}).
		Owns(route).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(&reconciler{Client: manager.GetClient(), template: string(template)})
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
