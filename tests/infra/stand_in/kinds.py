"""Each type of resource that our program makes, carried out on moto. A line in KINDS for each."""

import base64
import json
from pathlib import Path
from typing import Any

from tests.infra.stand_in.cloud import ACCOUNT, Cloud, Inputs, Kind, Made, named, nothing, pascal, tagged, tags

# ------------------------------------------------------------------------------------------------------------- network


def _vpc(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").create_vpc(CidrBlock=inputs["cidrBlock"], TagSpecifications=tagged("vpc", inputs))["Vpc"]["VpcId"]
    aws.client("ec2").modify_vpc_attribute(VpcId=made, EnableDnsHostnames={"Value": inputs["enableDnsHostnames"]})
    return made, {}


def _gateway(aws: Cloud, name: str, inputs: Inputs) -> Made:
    ec2 = aws.client("ec2")
    made = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway", inputs))["InternetGateway"][
        "InternetGatewayId"
    ]
    ec2.attach_internet_gateway(InternetGatewayId=made, VpcId=inputs["vpcId"])
    return made, {}


def _drop_gateway(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("ec2").detach_internet_gateway(InternetGatewayId=made, VpcId=inputs["vpcId"])
    aws.client("ec2").delete_internet_gateway(InternetGatewayId=made)


def _routes(aws: Cloud, name: str, inputs: Inputs) -> Made:
    ec2 = aws.client("ec2")
    made = ec2.create_route_table(VpcId=inputs["vpcId"], TagSpecifications=tagged("route-table", inputs))["RouteTable"][
        "RouteTableId"
    ]
    for each in inputs["routes"]:
        ec2.create_route(RouteTableId=made, DestinationCidrBlock=each["cidrBlock"], GatewayId=each["gatewayId"])
    return made, {}


def _association(aws: Cloud, name: str, inputs: Inputs) -> Made:
    found = aws.client("ec2").associate_route_table(SubnetId=inputs["subnetId"], RouteTableId=inputs["routeTableId"])
    return found["AssociationId"], {}


def _subnet(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").create_subnet(
        VpcId=inputs["vpcId"],
        CidrBlock=inputs["cidrBlock"],
        AvailabilityZone=inputs["availabilityZone"],
        TagSpecifications=tagged("subnet", inputs),
    )
    return made["Subnet"]["SubnetId"], {}


def _endpoint(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").create_vpc_endpoint(
        VpcId=inputs["vpcId"],
        ServiceName=inputs["serviceName"],
        VpcEndpointType=inputs["vpcEndpointType"],
        RouteTableIds=inputs.get("routeTableIds", []),
        SubnetIds=inputs.get("subnetIds", []),
        SecurityGroupIds=inputs.get("securityGroupIds", []),
        TagSpecifications=tagged("vpc-endpoint", inputs),
    )
    return made["VpcEndpoint"]["VpcEndpointId"], {}


def _security_group(aws: Cloud, name: str, inputs: Inputs) -> Made:
    ec2, called = aws.client("ec2"), named(inputs, name)
    made = ec2.create_security_group(
        GroupName=called,
        Description=inputs["description"],
        VpcId=inputs["vpcId"],
        TagSpecifications=tagged("security-group", inputs),
    )["GroupId"]
    # The provider takes AWS's own "everything out" away, so that the program's rules are all there are.
    ec2.revoke_security_group_egress(GroupId=made, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    return made, {"name": called, "arn": aws.arn("ec2", f"security-group/{made}")}


def _permission(inputs: Inputs) -> dict[str, Any]:
    found: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    if "fromPort" in inputs:
        found |= {"FromPort": inputs["fromPort"], "ToPort": inputs["toPort"]}
    if "cidrIpv4" in inputs:
        found["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"]}]
    if "referencedSecurityGroupId" in inputs:
        found["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"]}]
    return found


def _rule(direction: str) -> Kind:
    def create(aws: Cloud, name: str, inputs: Inputs) -> Made:
        admit = getattr(aws.client("ec2"), f"authorize_security_group_{direction}")
        found = admit(GroupId=inputs["securityGroupId"], IpPermissions=[_permission(inputs)])
        return found["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}

    def delete(aws: Cloud, made: str, inputs: Inputs) -> None:
        revoke = getattr(aws.client("ec2"), f"revoke_security_group_{direction}")
        revoke(GroupId=inputs["securityGroupId"], IpPermissions=[_permission(inputs)])

    return Kind(create, delete)


# --------------------------------------------------------------------------------------------------------------- hosts


def _template_of(inputs: Inputs) -> dict[str, Any]:
    volumes = [
        {
            "DeviceName": each["deviceName"],
            "Ebs": {
                **pascal(each["ebs"]),
                "Encrypted": each["ebs"]["encrypted"] == "true",
                "DeleteOnTermination": each["ebs"]["deleteOnTermination"] == "true",
            },
        }
        for each in inputs["blockDeviceMappings"]
    ]
    return {
        "ImageId": inputs["imageId"],
        "InstanceType": inputs["instanceType"],
        "UserData": inputs["userData"],
        "SecurityGroupIds": inputs["vpcSecurityGroupIds"],
        "MetadataOptions": pascal(inputs["metadataOptions"]),
        "BlockDeviceMappings": volumes,
        "IamInstanceProfile": {"Arn": inputs["iamInstanceProfile"]["arn"]},
        "TagSpecifications": [
            {"ResourceType": each["resourceType"], "Tags": tags({"tags": each["tags"]})} for each in inputs["tagSpecifications"]
        ],
    }


def _template(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    made = aws.client("ec2").create_launch_template(LaunchTemplateName=called, LaunchTemplateData=_template_of(inputs))
    return made["LaunchTemplate"]["LaunchTemplateId"], {"name": called, "latestVersion": 1}


def _new_version(aws: Cloud, made: str, inputs: Inputs) -> dict[str, Any]:
    found = aws.client("ec2").create_launch_template_version(LaunchTemplateId=made, LaunchTemplateData=_template_of(inputs))
    return {"latestVersion": found["LaunchTemplateVersion"]["VersionNumber"]}


def _instance(aws: Cloud, name: str, inputs: Inputs) -> Made:
    ec2 = aws.client("ec2")
    made = ec2.run_instances(
        ImageId=inputs["ami"],
        InstanceType=inputs["instanceType"],
        SubnetId=inputs["subnetId"],
        SecurityGroupIds=inputs["vpcSecurityGroupIds"],
        IamInstanceProfile={"Name": inputs["iamInstanceProfile"]},
        UserData=base64.b64decode(inputs["userDataBase64"]).decode(),
        MetadataOptions=pascal(inputs["metadataOptions"]),
        TagSpecifications=tagged("instance", inputs),
        MinCount=1,
        MaxCount=1,
    )["Instances"][0]
    return made["InstanceId"], {"privateIp": made["PrivateIpAddress"]}


def _drop_instance(aws: Cloud, made: str, inputs: Inputs) -> None:
    ec2 = aws.client("ec2")
    # AWS lets go of a volume that is not to end with its instance; moto deletes it instead.
    for each in ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [made]}])["Volumes"]:
        if any(attached["Device"] == "/dev/sdf" for attached in each["Attachments"]):
            ec2.detach_volume(VolumeId=each["VolumeId"], InstanceId=made, Device="/dev/sdf")
    ec2.terminate_instances(InstanceIds=[made])


def _volume(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = aws.client("ec2").create_volume(
        AvailabilityZone=inputs["availabilityZone"],
        Size=inputs["size"],
        VolumeType=inputs["type"],
        Encrypted=inputs["encrypted"],
        TagSpecifications=tagged("volume", inputs),
    )
    return made["VolumeId"], {}


def _attachment(aws: Cloud, name: str, inputs: Inputs) -> Made:
    aws.client("ec2").attach_volume(VolumeId=inputs["volumeId"], InstanceId=inputs["instanceId"], Device=inputs["deviceName"])
    return f"vai-{inputs['volumeId']}", {}


def _detach(aws: Cloud, made: str, inputs: Inputs) -> None:
    (volume,) = aws.client("ec2").describe_volumes(VolumeIds=[inputs["volumeId"]])["Volumes"]
    if any(each["InstanceId"] == inputs["instanceId"] for each in volume["Attachments"]):
        aws.client("ec2").detach_volume(
            VolumeId=inputs["volumeId"], InstanceId=inputs["instanceId"], Device=inputs["deviceName"]
        )


def _what_it_launches(inputs: Inputs) -> dict[str, Any]:
    if "launchTemplate" in inputs:
        template = inputs["launchTemplate"]
        return {"LaunchTemplate": {"LaunchTemplateId": template["id"], "Version": template["version"]}}
    mixed = inputs["mixedInstancesPolicy"]
    template = mixed["launchTemplate"]
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": pascal(template["launchTemplateSpecification"]),
            "Overrides": pascal(template["overrides"]),
        },
        "InstancesDistribution": pascal(mixed["instancesDistribution"]),
    }
    return {"MixedInstancesPolicy": policy}


def _group(aws: Cloud, name: str, inputs: Inputs) -> Made:
    client, called = aws.client("autoscaling"), inputs["name"]
    _create_group(client, called, inputs)
    for each in inputs["initialLifecycleHooks"]:
        _put_hook(aws, called, each)
    if "warmPool" in inputs:
        pool = inputs["warmPool"]
        client.put_warm_pool(
            AutoScalingGroupName=called,
            PoolState=pool["poolState"],
            MinSize=pool["minSize"],
            MaxGroupPreparedCapacity=pool["maxGroupPreparedCapacity"],
        )
    _resize(aws, called, inputs)
    client.set_desired_capacity(AutoScalingGroupName=called, DesiredCapacity=inputs["desiredCapacity"])
    return called, {"arn": aws.arn("autoscaling", f"autoScalingGroup:stand-in:autoScalingGroupName/{called}")}


def _put_hook(aws: Cloud, group: str, inputs: Inputs) -> None:
    aws.client("autoscaling").put_lifecycle_hook(
        AutoScalingGroupName=group,
        LifecycleHookName=inputs["name"],
        LifecycleTransition=inputs["lifecycleTransition"],
        HeartbeatTimeout=inputs["heartbeatTimeout"],
        DefaultResult=inputs["defaultResult"],
    )


def _hook(aws: Cloud, name: str, inputs: Inputs) -> Made:
    _put_hook(aws, inputs["autoscalingGroupName"], inputs)
    return inputs["name"], {}


def _drop_hook(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("autoscaling").delete_lifecycle_hook(AutoScalingGroupName=inputs["autoscalingGroupName"], LifecycleHookName=made)


def _create_group(client: Any, called: str, inputs: Inputs) -> None:
    own = {"ResourceId": called, "ResourceType": "auto-scaling-group"}
    client.create_auto_scaling_group(
        AutoScalingGroupName=called,
        # Hooks come with the group at AWS; moto takes them afterwards, so its first hosts wait until they are there.
        MinSize=0,
        DesiredCapacity=0,
        MaxSize=inputs["maxSize"],
        VPCZoneIdentifier=",".join(inputs["vpcZoneIdentifiers"]),
        CapacityRebalance=bool(inputs.get("capacityRebalance")),
        TargetGroupARNs=inputs.get("targetGroupArns") or [],
        HealthCheckType=inputs["healthCheckType"],
        Tags=[
            {"Key": e["key"], "Value": e["value"], "PropagateAtLaunch": e["propagateAtLaunch"], **own} for e in inputs["tags"]
        ],
        **_what_it_launches(inputs),
    )


def _resize(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=made, MinSize=inputs["minSize"], MaxSize=inputs["maxSize"], **_what_it_launches(inputs)
    )


def _drop_group(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("autoscaling").delete_auto_scaling_group(AutoScalingGroupName=made, ForceDelete=True)


def _scaling(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    words: dict[str, Any] = {"PolicyType": inputs["policyType"]}
    if "targetTrackingConfiguration" in inputs:
        wanted = inputs["targetTrackingConfiguration"]
        metric = wanted["customizedMetricSpecification"]
        words["TargetTrackingConfiguration"] = {
            "TargetValue": wanted["targetValue"],
            "CustomizedMetricSpecification": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metricName"],
                "Statistic": metric["statistic"],
                "Dimensions": pascal(metric["metricDimensions"]),
            },
        }
    else:
        words |= {"AdjustmentType": inputs["adjustmentType"]}
        words["StepAdjustments"] = [
            {
                "MetricIntervalLowerBound": float(each["metricIntervalLowerBound"]),
                "ScalingAdjustment": each["scalingAdjustment"],
            }
            for each in inputs["stepAdjustments"]
        ]
    aws.client("autoscaling").put_scaling_policy(
        AutoScalingGroupName=inputs["autoscalingGroupName"], PolicyName=called, **words
    )
    # moto 5.2 leaves PolicyARN out of its answer.
    return called, {"name": called, "arn": aws.arn("autoscaling", f"scalingPolicy:stand-in:policyName/{called}")}


def _schedule(aws: Cloud, name: str, inputs: Inputs) -> Made:
    aws.client("autoscaling").put_scheduled_update_group_action(
        AutoScalingGroupName=inputs["autoscalingGroupName"],
        ScheduledActionName=inputs["scheduledActionName"],
        Recurrence=inputs["recurrence"],
        TimeZone=inputs["timeZone"],
        MinSize=inputs["minSize"],
        MaxSize=inputs["maxSize"],
        DesiredCapacity=inputs["desiredCapacity"],
    )
    return inputs["scheduledActionName"], {}


# ------------------------------------------------------------------------------------------------------------ balancer


def _balancer(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = aws.client("elbv2").create_load_balancer(
        Name=named(inputs, name),
        Subnets=inputs["subnets"],
        SecurityGroups=inputs["securityGroups"],
        Scheme="internal" if inputs["internal"] else "internet-facing",
        Type=inputs["loadBalancerType"],
        Tags=tags(inputs),
    )["LoadBalancers"][0]
    return made["LoadBalancerArn"], {"arn": made["LoadBalancerArn"], "dnsName": made["DNSName"]}


def _targets(aws: Cloud, name: str, inputs: Inputs) -> Made:
    elb, health = aws.client("elbv2"), inputs["healthCheck"]
    arn = elb.create_target_group(
        Name=named(inputs, name),
        Protocol=inputs["protocol"],
        Port=inputs["port"],
        VpcId=inputs["vpcId"],
        HealthCheckPath=health["path"],
        HealthCheckIntervalSeconds=health["interval"],
        HealthCheckTimeoutSeconds=health["timeout"],
        HealthyThresholdCount=health["healthyThreshold"],
        UnhealthyThresholdCount=health["unhealthyThreshold"],
        Matcher={"HttpCode": health["matcher"]},
        Tags=tags(inputs),
    )["TargetGroups"][0]["TargetGroupArn"]
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(inputs["deregistrationDelay"])}
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[delay])
    return arn, {"arn": arn}


def _listener(aws: Cloud, name: str, inputs: Inputs) -> Made:
    (action,) = inputs["defaultActions"]
    arn = aws.client("elbv2").create_listener(
        LoadBalancerArn=inputs["loadBalancerArn"],
        Protocol=inputs["protocol"],
        Port=inputs["port"],
        DefaultActions=[{"Type": action["type"], "TargetGroupArn": action["targetGroupArn"]}],
    )["Listeners"][0]["ListenerArn"]
    return arn, {"arn": arn}


# -------------------------------------------------------------------------------------------------------------- models


def _bucket(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = named(inputs, name, "bucket")
    aws.client("s3").create_bucket(Bucket=made)
    aws.client("s3").put_bucket_tagging(Bucket=made, Tagging={"TagSet": tags(inputs)})
    return made, {"bucket": made, "arn": f"arn:aws:s3:::{made}"}


def _object(aws: Cloud, name: str, inputs: Inputs) -> Made:
    content = Path(inputs["source"]["path"]).read_bytes()
    made = aws.client("s3").put_object(Bucket=inputs["bucket"], Key=inputs["key"], Body=content)
    return inputs["key"], {"versionId": made.get("VersionId", "null")}


def _drop_object(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("s3").delete_object(Bucket=inputs["bucket"], Key=made, VersionId=inputs["versionId"])


def _versioning(aws: Cloud, name: str, inputs: Inputs) -> Made:
    wanted = pascal(inputs["versioningConfiguration"])
    aws.client("s3").put_bucket_versioning(Bucket=inputs["bucket"], VersioningConfiguration=wanted)
    return inputs["bucket"], {}


def _encryption(aws: Cloud, name: str, inputs: Inputs) -> Made:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": each["applyServerSideEncryptionByDefault"]["sseAlgorithm"]},
            "BucketKeyEnabled": each["bucketKeyEnabled"],
        }
        for each in inputs["rules"]
    ]
    aws.client("s3").put_bucket_encryption(Bucket=inputs["bucket"], ServerSideEncryptionConfiguration={"Rules": rules})
    return inputs["bucket"], {}


def _closed(aws: Cloud, name: str, inputs: Inputs) -> Made:
    wanted = pascal({key: value for key, value in inputs.items() if key != "bucket"})
    aws.client("s3").put_public_access_block(Bucket=inputs["bucket"], PublicAccessBlockConfiguration=wanted)
    return inputs["bucket"], {}


def _lifecycle(aws: Cloud, name: str, inputs: Inputs) -> Made:
    rules = [
        {
            "ID": each["id"],
            "Status": each["status"],
            "Filter": pascal(each["filter"]),
            "NoncurrentVersionExpiration": pascal(each["noncurrentVersionExpiration"]),
            "AbortIncompleteMultipartUpload": pascal(each["abortIncompleteMultipartUpload"]),
        }
        for each in inputs["rules"]
    ]
    aws.client("s3").put_bucket_lifecycle_configuration(Bucket=inputs["bucket"], LifecycleConfiguration={"Rules": rules})
    return inputs["bucket"], {}


# -------------------------------------------------------------------------------------------------------------- events


def _queue(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    wanted = {
        "MessageRetentionPeriod": inputs.get("messageRetentionSeconds"),
        "VisibilityTimeout": inputs.get("visibilityTimeoutSeconds"),
        "ReceiveMessageWaitTimeSeconds": inputs.get("receiveWaitTimeSeconds"),
        "RedrivePolicy": inputs.get("redrivePolicy"),
        "SqsManagedSseEnabled": str(inputs["sqsManagedSseEnabled"]).lower(),
    }
    attributes = {key: str(value) for key, value in wanted.items() if value is not None}
    url = aws.client("sqs").create_queue(QueueName=called, Attributes=attributes, tags=inputs["tags"])["QueueUrl"]
    return url, {"name": called, "url": url, "arn": aws.arn("sqs", called)}


def _queue_policy(aws: Cloud, name: str, inputs: Inputs) -> Made:
    aws.client("sqs").set_queue_attributes(QueueUrl=inputs["queueUrl"], Attributes={"Policy": inputs["policy"]})
    return inputs["queueUrl"], {}


def _event_rule(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    made = aws.client("events").put_rule(Name=called, EventPattern=inputs["eventPattern"], State="ENABLED", Tags=tags(inputs))
    return called, {"name": called, "arn": made["RuleArn"]}


def _event_target(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name, "targetId")
    aws.client("events").put_targets(Rule=inputs["rule"], Targets=[{"Id": called, "Arn": inputs["arn"]}])
    return called, {"targetId": called}


# -------------------------------------------------------------------------------------------------------------- access


def _role(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    made = aws.client("iam").create_role(
        RoleName=called, AssumeRolePolicyDocument=inputs["assumeRolePolicy"], Tags=tags(inputs)
    )
    return called, {"name": called, "arn": made["Role"]["Arn"]}


def _role_policy(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    aws.client("iam").put_role_policy(RoleName=inputs["role"], PolicyName=called, PolicyDocument=inputs["policy"])
    return called, {"name": called}


def _profile(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    made = aws.client("iam").create_instance_profile(InstanceProfileName=called)["InstanceProfile"]
    aws.client("iam").add_role_to_instance_profile(InstanceProfileName=called, RoleName=inputs["role"])
    return called, {"name": called, "arn": made["Arn"]}


def _drop_profile(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("iam").remove_role_from_instance_profile(InstanceProfileName=made, RoleName=inputs["role"])
    aws.client("iam").delete_instance_profile(InstanceProfileName=made)


# ------------------------------------------------------------------------------------------------------------- watching


def _alarm(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=called,
        ComparisonOperator=inputs["comparisonOperator"],
        Threshold=inputs["threshold"],
        EvaluationPeriods=inputs["evaluationPeriods"],
        Period=inputs["period"],
        Statistic=inputs["statistic"],
        Namespace=inputs["namespace"],
        MetricName=inputs["metricName"],
        Dimensions=[{"Name": key, "Value": value} for key, value in inputs["dimensions"].items()],
        TreatMissingData=inputs["treatMissingData"],
        AlarmActions=inputs["alarmActions"],
    )
    return called, {"name": called}


def _dashboard(aws: Cloud, name: str, inputs: Inputs) -> Made:
    _put_dashboard(aws, inputs["dashboardName"], inputs)
    return inputs["dashboardName"], {}


def _put_dashboard(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("cloudwatch").put_dashboard(DashboardName=made, DashboardBody=inputs["dashboardBody"])


def _logs(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    aws.client("logs").create_log_group(logGroupName=called, tags=inputs["tags"])
    aws.client("logs").put_retention_policy(logGroupName=called, retentionInDays=inputs["retentionInDays"])
    return called, {"name": called}


def _topic(aws: Cloud, name: str, inputs: Inputs) -> Made:
    arn = aws.client("sns").create_topic(Name=named(inputs, name), Tags=tags(inputs))["TopicArn"]
    return arn, {"arn": arn}


def _subscription(aws: Cloud, name: str, inputs: Inputs) -> Made:
    made = aws.client("sns").subscribe(TopicArn=inputs["topic"], Protocol=inputs["protocol"], Endpoint=inputs["endpoint"])
    return made["SubscriptionArn"], {}


def _budget(aws: Cloud, name: str, inputs: Inputs) -> Made:
    called = named(inputs, name)
    budget = {
        "BudgetName": called,
        "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
        "TimeUnit": inputs["timeUnit"],
        "BudgetType": inputs["budgetType"],
    }
    told = [
        {
            "Notification": {
                "NotificationType": each["notificationType"],
                "ComparisonOperator": each["comparisonOperator"],
                "Threshold": each["threshold"],
                "ThresholdType": each["thresholdType"],
            },
            "Subscribers": [{"SubscriptionType": "EMAIL", "Address": to} for to in each["subscriberEmailAddresses"]],
        }
        for each in inputs.get("notifications") or []
    ]
    aws.client("budgets").create_budget(AccountId=ACCOUNT, Budget=budget, NotificationsWithSubscribers=told)
    return called, {"name": called}


def _parameter(aws: Cloud, name: str, inputs: Inputs) -> Made:
    aws.client("ssm").put_parameter(Name=inputs["name"], Value=inputs["value"], Type=inputs["type"], Tags=tags(inputs))
    return inputs["name"], {}


def _new_value(aws: Cloud, made: str, inputs: Inputs) -> None:
    aws.client("ssm").put_parameter(Name=made, Value=inputs["value"], Type=inputs["type"], Overwrite=True)


def _kept(aws: Cloud, name: str, inputs: Inputs) -> Made:
    json.dumps(inputs)  # what AWS could not be sent must not pass here either
    made = named(inputs, name)
    aws.kept[made] = inputs
    return made, {"arn": aws.arn("stand-in", made)}


def _forget(aws: Cloud, made: str, inputs: Inputs) -> None:
    del aws.kept[made]


def _ec2(call: str, key: str) -> Any:
    return lambda aws, made, _: getattr(aws.client("ec2"), call)(**{key: [made] if key.endswith("s") else made})


_SIZES = frozenset({"minSize", "maxSize", "mixedInstancesPolicy", "launchTemplate"})
_TEMPLATE = frozenset({"imageId", "userData", "instanceType", "blockDeviceMappings", "metadataOptions", "vpcSecurityGroupIds"})

KINDS = {
    "aws:ec2/vpc:Vpc": Kind(_vpc, _ec2("delete_vpc", "VpcId")),
    "aws:ec2/internetGateway:InternetGateway": Kind(_gateway, _drop_gateway),
    "aws:ec2/routeTable:RouteTable": Kind(_routes, _ec2("delete_route_table", "RouteTableId")),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Kind(
        _association, _ec2("disassociate_route_table", "AssociationId")
    ),
    "aws:ec2/subnet:Subnet": Kind(_subnet, _ec2("delete_subnet", "SubnetId")),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Kind(_endpoint, _ec2("delete_vpc_endpoints", "VpcEndpointIds")),
    "aws:ec2/securityGroup:SecurityGroup": Kind(_security_group, _ec2("delete_security_group", "GroupId")),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rule("ingress"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rule("egress"),
    "aws:ec2/launchTemplate:LaunchTemplate": Kind(
        _template, _ec2("delete_launch_template", "LaunchTemplateId"), _new_version, _TEMPLATE
    ),
    "aws:ec2/instance:Instance": Kind(_instance, _drop_instance),
    "aws:ebs/volume:Volume": Kind(_volume, _ec2("delete_volume", "VolumeId")),
    "aws:ec2/volumeAttachment:VolumeAttachment": Kind(_attachment, _detach),
    "aws:autoscaling/group:Group": Kind(_group, _drop_group, _resize, _SIZES),
    "aws:autoscaling/lifecycleHook:LifecycleHook": Kind(
        _hook,
        _drop_hook,
        lambda aws, made, wanted: _put_hook(aws, wanted["autoscalingGroupName"], wanted),
        frozenset({"heartbeatTimeout", "defaultResult"}),
    ),
    "aws:autoscaling/policy:Policy": Kind(_scaling, nothing),
    "aws:autoscaling/schedule:Schedule": Kind(_schedule, nothing),
    "aws:lb/loadBalancer:LoadBalancer": Kind(
        _balancer, lambda aws, made, _: aws.client("elbv2").delete_load_balancer(LoadBalancerArn=made)
    ),
    "aws:lb/targetGroup:TargetGroup": Kind(
        _targets, lambda aws, made, _: aws.client("elbv2").delete_target_group(TargetGroupArn=made)
    ),
    "aws:lb/listener:Listener": Kind(_listener, lambda aws, made, _: aws.client("elbv2").delete_listener(ListenerArn=made)),
    "aws:s3/bucket:Bucket": Kind(_bucket, lambda aws, made, _: aws.client("s3").delete_bucket(Bucket=made)),
    "aws:s3/bucketObjectv2:BucketObjectv2": Kind(_object, _drop_object),
    "aws:s3/bucketVersioning:BucketVersioning": Kind(_versioning, nothing),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Kind(_encryption, nothing),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Kind(_closed, nothing),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": Kind(_lifecycle, nothing),
    "aws:s3/bucketPolicy:BucketPolicy": Kind(_kept, _forget),
    "aws:sqs/queue:Queue": Kind(_queue, lambda aws, made, _: aws.client("sqs").delete_queue(QueueUrl=made)),
    "aws:sqs/queuePolicy:QueuePolicy": Kind(_queue_policy, nothing),
    "aws:cloudwatch/eventRule:EventRule": Kind(_event_rule, lambda aws, made, _: aws.client("events").delete_rule(Name=made)),
    "aws:cloudwatch/eventTarget:EventTarget": Kind(
        _event_target, lambda aws, made, it: aws.client("events").remove_targets(Rule=it["rule"], Ids=[made])
    ),
    "aws:iam/role:Role": Kind(_role, lambda aws, made, _: aws.client("iam").delete_role(RoleName=made)),
    "aws:iam/rolePolicy:RolePolicy": Kind(
        _role_policy, lambda aws, made, it: aws.client("iam").delete_role_policy(RoleName=it["role"], PolicyName=made)
    ),
    "aws:iam/instanceProfile:InstanceProfile": Kind(_profile, _drop_profile),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Kind(
        _alarm, lambda aws, made, _: aws.client("cloudwatch").delete_alarms(AlarmNames=[made])
    ),
    "aws:cloudwatch/dashboard:Dashboard": Kind(
        _dashboard,
        lambda aws, made, _: aws.client("cloudwatch").delete_dashboards(DashboardNames=[made]),
        _put_dashboard,
        frozenset({"dashboardBody"}),
    ),
    "aws:cloudwatch/logGroup:LogGroup": Kind(
        _logs, lambda aws, made, _: aws.client("logs").delete_log_group(logGroupName=made)
    ),
    "aws:sns/topic:Topic": Kind(_topic, lambda aws, made, _: aws.client("sns").delete_topic(TopicArn=made)),
    "aws:sns/topicSubscription:TopicSubscription": Kind(_subscription, nothing),
    "aws:budgets/budget:Budget": Kind(
        _budget, lambda aws, made, _: aws.client("budgets").delete_budget(AccountId=ACCOUNT, BudgetName=made)
    ),
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": Kind(_kept, _forget),
    "aws:costexplorer/anomalySubscription:AnomalySubscription": Kind(_kept, _forget),
    "aws:ssm/parameter:Parameter": Kind(
        _parameter, lambda aws, made, _: aws.client("ssm").delete_parameter(Name=made), _new_value, frozenset({"value"})
    ),
}
