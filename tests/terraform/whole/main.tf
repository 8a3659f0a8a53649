# Every kind of resource that belongs to functions. Takes some minutes: the provider waits 25 seconds for each queue.
data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com", "scheduler.amazonaws.com"]
    }
  }
}

# --- roles and policies ---

resource "aws_iam_role" "function" {
  name                 = "whole-function"
  description          = "For functions"
  path                 = "/whole/"
  max_session_duration = 7200
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  tags                 = { made_by = "terraform" }
}

resource "aws_iam_role_policy" "queues" {
  name = "queues"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sqs:*", Resource = aws_sqs_queue.work.arn }]
  })
}

resource "aws_iam_policy" "topics" {
  name = "whole-topics"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sns:Publish", Resource = "*" }]
  })
}

resource "aws_iam_role_policy_attachment" "topics" {
  role       = aws_iam_role.function.name
  policy_arn = aws_iam_policy.topics.arn
}

resource "aws_iam_role_policy_attachment" "basic" {
  role       = aws_iam_role.function.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_iam_user" "deployer" {
  name = "whole-deployer"
}

resource "aws_iam_user_policy_attachment" "topics" {
  user       = aws_iam_user.deployer.name
  policy_arn = aws_iam_policy.topics.arn
}

resource "aws_iam_group" "deployers" {
  name = "whole-deployers"
}

resource "aws_iam_group_policy_attachment" "deployers" {
  group      = aws_iam_group.deployers.name
  policy_arn = "arn:aws:iam::aws:policy/AWSLambda_FullAccess"
}

resource "aws_iam_instance_profile" "machine" {
  name = "whole-machine"
  role = aws_iam_role.function.name
}

# --- code ---

resource "aws_s3_bucket" "code" {
  bucket        = "whole-code"
  force_destroy = true
  tags          = { made_by = "terraform" }
}

resource "aws_s3_bucket_versioning" "code" {
  bucket = aws_s3_bucket.code.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_object" "code" {
  bucket = aws_s3_bucket_versioning.code.bucket
  key    = "function.zip"
  source = "${path.module}/function.zip"
  etag   = filemd5("${path.module}/function.zip")
}

resource "aws_s3_bucket_notification" "code" {
  bucket      = aws_s3_bucket.code.id
  eventbridge = true
  lambda_function {
    lambda_function_arn = aws_lambda_function.stored.arn
    events              = ["s3:ObjectCreated:*"]
    filter_prefix       = "uploads/"
  }
  depends_on = [aws_lambda_permission.bucket]
}

resource "aws_lambda_permission" "bucket" {
  statement_id   = "bucket"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.stored.function_name
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.code.arn
  source_account = data.aws_caller_identity.current.account_id
}

resource "aws_lambda_layer_version" "shared" {
  layer_name          = "whole-shared"
  filename            = "${path.module}/layer.zip"
  source_code_hash    = filebase64sha256("${path.module}/layer.zip")
  compatible_runtimes = [var.runtime]
}

# --- functions ---

resource "aws_cloudwatch_log_group" "main" {
  name              = "/aws/lambda/whole-main"
  retention_in_days = 14
}

resource "aws_lambda_function" "main" {
  function_name    = "whole-main"
  description      = "Everything"
  role             = aws_iam_role.function.arn
  handler          = "index.handler"
  runtime          = var.runtime
  filename         = "${path.module}/function.zip"
  source_code_hash = filebase64sha256("${path.module}/function.zip")
  memory_size      = 256
  timeout          = 20
  publish          = true
  layers           = [aws_lambda_layer_version.shared.arn]

  ephemeral_storage { size = 1024 }
  environment { variables = { GREETING = "Hello" } }
  dead_letter_config { target_arn = aws_sqs_queue.dead.arn }
  tracing_config { mode = "Active" }
  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.main.name
    # Without them the provider plans a new version each time, on AWS too: the levels that it reads are not in its state.
    application_log_level = "INFO"
    system_log_level      = "WARN"
  }
  tags = { made_by = "terraform" }
}

resource "aws_lambda_function" "stored" {
  function_name                  = "whole-stored"
  role                           = aws_iam_role.function.arn
  handler                        = "index.handler"
  runtime                        = var.runtime
  s3_bucket                      = aws_s3_object.code.bucket
  s3_key                         = aws_s3_object.code.key
  s3_object_version              = aws_s3_object.code.version_id
  reserved_concurrent_executions = 5
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "What callers use"
  function_name    = aws_lambda_function.main.function_name
  function_version = aws_lambda_function.main.version
}

resource "aws_lambda_provisioned_concurrency_config" "live" {
  function_name                     = aws_lambda_function.main.function_name
  qualifier                         = aws_lambda_alias.live.name
  provisioned_concurrent_executions = 1
}

resource "aws_lambda_function_event_invoke_config" "main" {
  function_name                = aws_lambda_function.main.function_name
  maximum_event_age_in_seconds = 120
  maximum_retry_attempts       = 0
  destination_config {
    on_failure { destination = aws_sns_topic.failures.arn }
    on_success { destination = aws_cloudwatch_event_bus.own.arn }
  }
}

# --- queues, topics, rules ---

resource "aws_sqs_queue" "dead" {
  name                      = "whole-dead"
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "work" {
  name                       = "whole-work"
  visibility_timeout_seconds = 120
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 3 })
  tags                       = { made_by = "terraform" }
}

resource "aws_sns_topic" "failures" {
  name = "whole-failures"
  tags = { made_by = "terraform" }
}

resource "aws_sns_topic_subscription" "failures" {
  topic_arn           = aws_sns_topic.failures.arn
  protocol            = "lambda"
  endpoint            = aws_lambda_function.stored.arn
  filter_policy       = jsonencode({ kind = ["wanted"] })
  filter_policy_scope = "MessageAttributes"
}

resource "aws_lambda_permission" "topic" {
  statement_id  = "topic"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.stored.function_name
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.failures.arn
}

resource "aws_cloudwatch_event_bus" "own" {
  name = "whole-own"
}

resource "aws_cloudwatch_event_rule" "events" {
  name           = "whole-events"
  event_bus_name = aws_cloudwatch_event_bus.own.name
  event_pattern  = jsonencode({ source = ["lambda"] })
}

resource "aws_cloudwatch_event_target" "events" {
  rule           = aws_cloudwatch_event_rule.events.name
  event_bus_name = aws_cloudwatch_event_bus.own.name
  target_id      = "stored"
  arn            = aws_lambda_function.stored.arn
}

resource "aws_cloudwatch_event_rule" "hourly" {
  name                = "whole-hourly"
  schedule_expression = "rate(1 hour)"
}

resource "aws_cloudwatch_event_target" "hourly" {
  rule = aws_cloudwatch_event_rule.hourly.name
  arn  = aws_lambda_alias.live.arn
  input_transformer {
    input_paths    = { time = "$.time" }
    input_template = "{\"time\": <time>}"
  }
}

resource "aws_lambda_permission" "hourly" {
  statement_id  = "hourly"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.main.function_name
  qualifier     = aws_lambda_alias.live.name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.hourly.arn
}

resource "aws_lambda_permission" "rule" {
  statement_id  = "rule"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.stored.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.events.arn
}

# --- what functions use, and what watches them ---

resource "aws_dynamodb_table" "items" {
  name             = "whole-items"
  billing_mode     = "PAY_PER_REQUEST"
  hash_key         = "id"
  stream_enabled   = true
  stream_view_type = "NEW_AND_OLD_IMAGES"
  attribute {
    name = "id"
    type = "S"
  }
}

resource "aws_ssm_parameter" "setting" {
  name  = "/whole/setting"
  type  = "String"
  value = "on"
}

resource "aws_secretsmanager_secret" "secret" {
  name                    = "whole-secret"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "secret" {
  secret_id     = aws_secretsmanager_secret.secret.id
  secret_string = "hidden"
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "whole-errors"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.main.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  alarm_actions       = [aws_sns_topic.failures.arn]
  tags                = { made_by = "terraform" }
}

variable "runtime" { type = string }

output "account" { value = data.aws_caller_identity.current.account_id }
output "function" { value = aws_lambda_function.main.function_name }
output "alias" { value = aws_lambda_alias.live.arn }
output "stored" { value = aws_lambda_function.stored.function_name }
output "work" { value = aws_sqs_queue.work.url }
