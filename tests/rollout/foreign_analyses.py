"""Small documents in the shapes that Argo Rollouts and Flagger document: canary steps, analyses, templates, hooks."""

QUERY = """
sum(rate(istio_requests_total{destination_service=~"{{args.service-name}}",revision="{{ args.latest-hash }}",response_code!~"5.*"}[5m]))
  / sum(rate(istio_requests_total{destination_service=~"{{args.service-name}}",revision="{{ args.latest-hash }}"}[5m]))
"""

ARGO_TEMPLATE = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisTemplate",
    "metadata": {"name": "success-rate", "namespace": "shop"},
    "spec": {
        "args": [
            {"name": "service-name"},
            {"name": "latest-hash"},
            {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
        "metrics": [
            {
                "name": "success-rate",
                "initialDelay": "1m",
                "interval": "5m",
                "count": 5,
                "successCondition": "len(result) == 0 || isNaN(result[0]) || result[0] >= 0.95",
                "failureCondition": "len(result) > 0 && result[0] < 0.9",
                "failureLimit": 3,
                "inconclusiveLimit": 3,
                "consecutiveErrorLimit": 2,
                "provider": {"prometheus": {"address": "http://prometheus:9090", "query": QUERY, "timeout": 40}},
            },
            {
                "name": "P99 Latency",
                "successCondition": "result[0] < 0.5",
                "provider": {
                    "prometheus": {
                        "address": "http://prometheus:9090",
                        "query": 'histogram_quantile(0.99, sum by (le) (rate(d_bucket{revision="{{args.latest-hash}}"}[1m])))',
                    }
                },
            },
            {
                "name": "smoke",
                "successCondition": "result == 'true'",
                "provider": {"web": {"url": "http://x/{{ args.service-name }}", "jsonPath": "{$.ok}", "headers": [{"key": "a"}]}},
            },
        ],
        "dryRun": [{"metricName": "P99 Latency"}],
        "measurementRetention": [{"metricName": ".*", "limit": 20}],
    },
}

ARGO_WHOLE_SERVICE = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "ClusterAnalysisTemplate",
    "metadata": {"name": "error-rate"},
    "spec": {
        "args": [{"name": "service-name", "value": "guestbook"}],
        "metrics": [
            {
                "name": "error-rate",
                "interval": "30s",
                "failureCondition": "result[0] > 0.05",
                "provider": {"prometheus": {"query": 'sum(rate(errors_total{service="{{args.service-name}}"}[1m]))'}},
            }
        ],
    },
}

ARGO_ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "guestbook", "labels": {"team": "shop"}},
    "spec": {
        "replicas": 5,
        "selector": {"matchLabels": {"app": "guestbook"}},
        "progressDeadlineSeconds": 600,
        "strategy": {
            "canary": {
                "canaryService": "guestbook-canary",
                "stableService": "guestbook-stable",
                "maxSurge": "20%",
                "trafficRouting": {"istio": {"virtualService": {"name": "vs", "routes": ["primary"]}}},
                "analysis": {
                    "templates": [{"templateName": "success-rate"}],
                    "startingStep": 2,
                    "args": [
                        {"name": "service-name", "value": "guestbook.default.svc"},
                        {"name": "latest-hash", "valueFrom": {"podTemplateHashValue": "Latest"}},
                    ],
                },
                "steps": [
                    {"setWeight": 5},
                    {"pause": {"duration": "1h"}},
                    {"setCanaryScale": {"replicas": 3}},
                    {"setWeight": 20},
                    {"pause": {"duration": 600}},
                    {"pause": {}},
                    {"setWeight": 50},
                    {"setWeight": 40},
                    {"analysis": {"templates": [{"templateName": "error-rate", "clusterScope": True}]}},
                    {"pause": {}},
                ],
            }
        },
    },
}
ARGO = [ARGO_ROLLOUT, ARGO_TEMPLATE, ARGO_WHOLE_SERVICE]

FLAGGER_CANARY = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "Canary",
    "metadata": {"name": "podinfo", "namespace": "test"},
    "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
        "autoscalerRef": {"kind": "HorizontalPodAutoscaler", "name": "podinfo"},
        "progressDeadlineSeconds": 60,
        "service": {"port": 9898, "gateways": ["public"], "retries": {"attempts": 3}},
        "analysis": {
            "interval": "1m",
            "threshold": 5,
            "maxWeight": 50,
            "stepWeight": 20,
            "primaryReadyThreshold": 100,
            "sessionAffinity": {"cookieName": "flagger"},
            "metrics": [
                {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}},
                {"name": "request-duration", "interval": "30s", "thresholdRange": {"max": 480}},
                {
                    "name": "404s percentage",
                    "interval": "1m",
                    "templateRef": {"name": "not-found", "namespace": "istio-system"},
                    "templateVariables": {"direction": "inbound"},
                    "thresholdRange": {"max": 5},
                },
                {"name": "old style", "threshold": 500, "query": 'max(x{app="{{ target }}"})'},
                {"name": "datadog", "templateRef": {"name": "dd"}, "thresholdRange": {"min": 1}},
            ],
            "webhooks": [
                {"name": "load", "type": "rollout", "url": "http://tester/", "timeout": "5s", "metadata": {"cmd": "hey"}},
                {"name": "ask", "type": "confirm-promotion", "url": "http://gate/"},
            ],
            "alerts": [{"name": "dev", "severity": "error", "providerRef": {"name": "slack", "namespace": "flagger"}}],
        },
    },
}

FLAGGER_TEMPLATE = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "MetricTemplate",
    "metadata": {"name": "not-found", "namespace": "istio-system"},
    "spec": {
        "provider": {"type": "prometheus", "address": "http://prometheus:9090", "secretRef": {"name": "auth"}},
        "query": '100 * sum(rate(r{ns="{{ namespace }}",w="{{ target }}",d="{{ variables.direction }}",code="404"}[{{ interval }}]))\n'
        '/ sum(rate(r{ns="{{ namespace }}",w="{{ target }}"}[{{ interval }}]))',
    },
}
FLAGGER_DATADOG = {
    "apiVersion": "flagger.app/v1beta1",
    "kind": "MetricTemplate",
    "metadata": {"name": "dd", "namespace": "test"},
    "spec": {"provider": {"type": "datadog", "address": "https://api.datadoghq.com"}, "query": "sum:x{*}"},
}
FLAGGER = [FLAGGER_CANARY, FLAGGER_TEMPLATE, FLAGGER_DATADOG]
