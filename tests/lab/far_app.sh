#!/bin/sh
# A model server made of busybox: the front answers /health for itself alone, the work is done by a child, on a GPU if it was given one.
mkdir -p /www/cgi-bin
printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\nok\\n"\n' > /www/cgi-bin/health
cat > /www/cgi-bin/completions <<'ANSWER'
#!/bin/sh
if ! grep -qs '^State:.[RSD]' "/proc/$(cat /run/engine)/status"; then
    printf 'Status: 500 Internal Server Error\r\nContent-Type: application/json\r\n\r\n{"error": "the engine is dead"}'
elif type nvidia-smi >/dev/null && ! nvidia-smi -L >/dev/null; then
    printf 'Status: 500 Internal Server Error\r\nContent-Type: application/json\r\n\r\n{"error": "CUDA error: no CUDA-capable device is detected"}'
else
    printf 'Content-Type: application/json\r\n\r\n{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'
fi
ANSWER
chmod +x /www/cgi-bin/*
mkdir -p /run
sleep 100000 &
echo $! > /run/engine
exec httpd -f -p 8080 -h /www
