#!/bin/sh
# A model server made of busybox: the front answers /health for itself alone, the work is done by a child, on a GPU.
mkdir -p /www/cgi-bin /run/gpu
printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\nok\\n"\n' > /www/cgi-bin/health
cat > /www/cgi-bin/completions <<'ANSWER'
#!/bin/sh
if ! grep -qs '^State:.[RSD]' "/proc/$(cat /run/engine)/status" || ! nvidia-smi -L >/dev/null; then
    printf 'Status: 500 Internal Server Error\r\nContent-Type: application/json\r\n\r\n{"error": "the engine is dead"}'
else
    printf 'Content-Type: application/json\r\n\r\n{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'
fi
ANSWER
cat > /bin/nvidia-smi <<'TOOL'
#!/bin/sh
[ -e /run/gpu/nvidia0 ] || { echo "Failed to initialize NVML: Unknown Error"; exit 255; }
echo "GPU 0: NVIDIA L4 (UUID: GPU-5f3c1f0e-0000-0000-0000-000000000001)"
TOOL
chmod +x /www/cgi-bin/* /bin/nvidia-smi
touch /run/gpu/nvidia0
sleep 100000 &
echo $! > /run/engine
exec httpd -f -p 8080 -h /www
