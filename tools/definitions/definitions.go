// Package definitions names the modules whose custom resource definitions the tests' cluster takes.
//
// It is no part of the module beside it, whose dependencies these modules would raise.
package definitions

import (
	_ "istio.io/api/networking/v1"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
