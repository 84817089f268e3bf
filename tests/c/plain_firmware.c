/* What firmware does with a plain variable, to be compiled for processors without a system. */
#include "robot_ipc_plain.h"

static _Alignas(64) unsigned char memory[RIPC_PLAIN_SIZE(4, 16)];
static ripc_plain wheels;

int start(void)
{
    return ripc_plain_create(&wheels, memory, sizeof memory, 4, 16) == RIPC_PLAIN_OK;
}

int publish(const float *speeds)
{
    return ripc_plain_write(&wheels, speeds, 16, RIPC_PLAIN_RAW, 0) == RIPC_PLAIN_OK;
}

int look(void *other, float *speeds)
{
    ripc_plain variable;
    ripc_plain_sample sample;
    return ripc_plain_open(&variable, other, sizeof memory) == RIPC_PLAIN_OK &&
           ripc_plain_read(&variable, speeds, 16, &sample) == RIPC_PLAIN_OK;
}
