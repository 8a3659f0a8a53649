# What most deployments of one function have, without queues: the provider takes 25 seconds for each of those.
resource "aws_iam_role" "function" {
  name = "small-function"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.function.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/small"
  retention_in_days = 7
}

resource "aws_s3_bucket" "code" {
  bucket = "small-code"
}

resource "aws_s3_object" "code" {
  bucket = aws_s3_bucket.code.bucket
  key    = "function.zip"
  source = "${path.module}/function.zip"
  etag   = filemd5("${path.module}/function.zip")
}

resource "aws_lambda_function" "function" {
  function_name    = "small"
  role             = aws_iam_role.function.arn
  handler          = "index.handler"
  runtime          = var.runtime
  s3_bucket        = aws_s3_object.code.bucket
  s3_key           = aws_s3_object.code.key
  source_code_hash = filebase64sha256("${path.module}/function.zip")
  publish          = true

  environment {
    variables = { GREETING = "Hello" }
  }
  tags = { made_by = "terraform" }

  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy_attachment.logs]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.function.function_name
  function_version = aws_lambda_function.function.version
}

resource "aws_lambda_function_url" "live" {
  function_name      = aws_lambda_function.function.function_name
  qualifier          = aws_lambda_alias.live.name
  authorization_type = "NONE"

  cors {
    allow_credentials = true
    allow_origins     = ["https://page.example"]
    allow_methods     = ["GET", "POST"]
    allow_headers     = ["x-mine"]
    expose_headers    = ["x-mine"]
    max_age           = 60
  }
}

resource "aws_lambda_permission" "topic" {
  statement_id  = "topic"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function.function_name
  qualifier     = aws_lambda_alias.live.name
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.failures.arn
}

resource "aws_sns_topic" "failures" {
  name = "small-failures"
}

resource "aws_lambda_function_event_invoke_config" "function" {
  function_name          = aws_lambda_function.function.function_name
  maximum_retry_attempts = 1
  destination_config {
    on_failure { destination = aws_sns_topic.failures.arn }
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "small-errors"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.function.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  alarm_actions       = [aws_sns_topic.failures.arn]
  tags                = { made_by = "terraform" }
}

variable "runtime" { type = string }

output "function" { value = aws_lambda_function.function.function_name }
output "alias" { value = aws_lambda_alias.live.arn }

output "url" { value = aws_lambda_function_url.live.function_url }
